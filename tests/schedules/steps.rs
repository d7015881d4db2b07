//! The steps of a schedule, and how a seed creates them.

/// SplitMix64: consecutive seeds give unrelated schedules.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, chance: usize) -> bool {
        self.below(chance) == 0
    }
}

/// One step. Numbers choose among what exists when the step runs; if nothing exists, the step does nothing.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    OpenFactory {
        graceful: bool,
        hasty: bool,
    },
    DropFactory(usize),
    /// Makes a future without polling it.
    Begin {
        factory: usize,
        way: Way,
    },
    Poll(usize),
    /// Polls a future with a waker that owns another future, and drops it when it is woken or dropped.
    PollOwning {
        polled: usize,
        owned: usize,
    },
    Drop(usize),
    /// Spawns a future on the runtime.
    Spawn(usize),
    Abort(usize),
    /// Lets the runtime turn.
    Turn,
    Block {
        factory: usize,
        count: usize,
    },
    BlockOneShot,
    Stranger {
        factory: usize,
    },
    Stats {
        factory: usize,
    },
    /// The given call of `configure` from here on panics.
    PanicInConfigure(u32),
    PanicInFromFd(u32),
    NextRuntime(Kind),
    /// Drops everything in progress, and checks what is open.
    DropAll,
    /// From here on all packets are dropped, or none.
    Blackhole(bool),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Pair,
    Pairs(usize),
    Stream(usize),
    OneShot,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Tokio,
    TokioOfTwoThreads,
    TokioUring,
}

/// No runtime with threads while packets are dropped: a thread might be waiting for a token.
pub(crate) fn kind(dice: &mut Dice, dark: bool) -> Kind {
    match dice.below(12) {
        0 if !dark => Kind::TokioOfTwoThreads,
        1..4 => Kind::TokioUring,
        _ => Kind::Tokio,
    }
}

/// Creates a schedule. A dark one drops all packets for a while.
pub(crate) fn schedule(dice: &mut Dice, dark: bool) -> Vec<Step> {
    let mut steps = vec![open(dice)];
    let length = 8 + dice.below(40);
    steps.extend((0..length).map(|_| step(dice, dark)));
    if dark {
        for is_on in [true, false] {
            let place = dice.below(steps.len());
            steps.insert(place, Step::Blackhole(is_on));
        }
    }
    steps
}

fn open(dice: &mut Dice) -> Step {
    Step::OpenFactory { graceful: dice.one_in(3), hasty: dice.one_in(6) }
}

fn step(dice: &mut Dice, dark: bool) -> Step {
    let which = dice.below(64);
    match dice.below(100) {
        0..4 => open(dice),
        4..7 => Step::DropFactory(which),
        7..32 => Step::Begin { factory: which, way: way(dice) },
        32..52 => Step::Poll(which),
        52..56 => Step::PollOwning { polled: which, owned: dice.below(64) },
        56..66 => Step::Drop(which),
        66..72 => Step::Spawn(which),
        72..75 => Step::Abort(which),
        75..83 => Step::Turn,
        83..87 => Step::Block { factory: which, count: 1 + dice.below(20) },
        87..89 => Step::BlockOneShot,
        89..92 => Step::Stranger { factory: which },
        92..94 => Step::Stats { factory: which },
        94 => Step::PanicInConfigure(1 + dice.below(40) as u32),
        95 => Step::PanicInFromFd(1 + dice.below(40) as u32),
        96..98 => Step::NextRuntime(kind(dice, dark)),
        _ => Step::DropAll,
    }
}

fn way(dice: &mut Dice) -> Way {
    match dice.below(6) {
        0..2 => Way::Pair,
        2 => Way::Pairs(1 + dice.below(20)),
        3 => Way::Stream(1 + dice.below(4)),
        _ => Way::OneShot,
    }
}
