//! Missing, duplicate and foreign shards.

use super::super::shard::Shard;

/// The maximum number of sentences per kind of gap. The rest are counted.
const SHOWN: usize = 8;

/// Returns a sentence for each shard that is missing, duplicate, or of another soak.
///
/// The shards are sorted. The sentences depend on the shards alone, so a later sum replaces them by its own.
pub(super) fn gaps(shards: &[Shard]) -> Vec<String> {
    let groups: Vec<&[Shard]> = shards.chunk_by(|one, other| one.of == other.of).collect();
    match groups[..] {
        [] => Vec::new(),
        [shards] => [twice(shards), missing(shards)].concat(),
        _ => vec![mixed(&groups)],
    }
}

fn mixed(groups: &[&[Shard]]) -> String {
    let name = |shards: &&[Shard]| match shards[0].of {
        1 => "a whole soak".to_owned(),
        of => format!("shards of {of}"),
    };
    let mut names: Vec<String> = groups.iter().take(SHOWN).map(name).collect();
    if groups.len() > SHOWN {
        names.push("others".to_owned());
    }
    format!("{} are no parts of one soak", names.join(" and "))
}

fn twice(shards: &[Shard]) -> Vec<String> {
    let groups: Vec<&[Shard]> = shards.chunk_by(|one, other| one == other).filter(|same| same.len() > 1).collect();
    let sentence = |same: &&[Shard]| match same[0] {
        Shard::WHOLE => format!("the whole soak is there {} times", same.len()),
        shard => format!("shard {shard} is there {} times", same.len()),
    };
    let sentences = groups.iter().take(SHOWN).map(sentence).collect();
    with_rest(sentences, groups.len() as u64, "are there more than once")
}

/// Looks between the shards that exist, because a report may claim very many.
fn missing(shards: &[Shard]) -> Vec<String> {
    let Some(of) = shards.first().map(|shard| shard.of) else { return Vec::new() };
    let (mut expected, mut count, mut sentences) = (0, 0, Vec::new());
    for found in shards.iter().map(|shard| shard.index).chain([of]) {
        count += found.saturating_sub(expected);
        let few = (expected..found).take(SHOWN - sentences.len());
        sentences.extend(few.map(|index| format!("shard {index}/{of} is missing")));
        expected = found + 1;
    }
    with_rest(sentences, count, "are missing")
}

fn with_rest(mut sentences: Vec<String>, count: u64, what: &str) -> Vec<String> {
    match count - sentences.len() as u64 {
        0 => {}
        rest => sentences.push(format!("{rest} more shards {what}")),
    }
    sentences
}
