//! What keeps shards from being one whole soak.

use super::super::shard::Shard;

/// How many sentences there are about one kind of gap; the rest is counted.
const SHOWN: usize = 8;

/// Shards that are missing, that are there twice, or that belong to different soaks, a sentence each.
///
/// The shards are in order. The sentences depend on them alone: a report with such a sentence can be added to another, which
/// has its own.
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

/// Looks between those that are there, as a report may speak of very many.
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
