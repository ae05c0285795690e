//! Is there an order of its operations that explains a history? The search of Wing & Gong with the
//! memo of Lowe, as in Porcupine, for a law under which an operation may have several outcomes, may
//! never happen, and may be seen half done.

use std::{collections::HashSet, fmt::Debug, hash::Hash};

/// What one object does, one operation after another.
pub trait Law {
    type State: Clone + Eq + Hash + Debug;
    type Op: Debug;

    /// The states that operation `number` may leave behind, if what its client was told is right;
    /// none where it cannot have happened in this state.
    fn steps(&self, state: &Self::State, number: usize, op: &Self::Op) -> Vec<Step<Self::State>>;
}

/// What an operation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<S> {
    /// All of it.
    Done(S),
    /// A part of it; it is to be asked again.
    Half(S),
}

/// One operation, and what its client was told of it.
#[derive(Debug)]
pub struct Event<O> {
    pub op: O,
    /// When its client began.
    pub invoked: u64,
    /// When it was surely over; `None` where it may have happened later, or never.
    pub answered: Option<u64>,
}

/// The order in which the operations happened, the numbers of what surely did among them; or else
/// the furthest that any order came.
pub fn explain<L: Law>(
    law: &L,
    first: L::State,
    history: &[Event<L::Op>],
) -> Result<Vec<usize>, Stuck<L::State>> {
    assert!(history.len() <= 64, "{} operations are too many to try all orders", history.len());
    let mut search = Search {
        law,
        history,
        seen: HashSet::new(),
        order: Vec::new(),
        furthest: Stuck { order: Vec::new(), state: first.clone() },
    };
    if search.goes_on(0, &first) { Ok(search.order) } else { Err(search.furthest) }
}

/// No order explains the history; this one explains most of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Stuck<S> {
    pub order: Vec<usize>,
    pub state: S,
}

struct Search<'a, L: Law> {
    law: &'a L,
    history: &'a [Event<L::Op>],
    seen: HashSet<(u64, L::State)>,
    order: Vec<usize>,
    furthest: Stuck<L::State>,
}

impl<L: Law> Search<'_, L> {
    fn goes_on(&mut self, done: u64, state: &L::State) -> bool {
        let left = |number: &usize| done & (1 << number) == 0;
        let open: Vec<usize> = (0..self.history.len()).filter(left).collect();
        // Whoever was told the end of an operation before another began saw it happen before.
        let Some(soonest) = open.iter().filter_map(|number| self.history[*number].answered).min()
        else {
            return true;
        };
        if self.order.len() >= self.furthest.order.len() {
            self.furthest = Stuck { order: self.order.clone(), state: state.clone() };
        }
        for number in open {
            let event = &self.history[number];
            if event.invoked > soonest {
                continue;
            }
            for step in self.law.steps(state, number, &event.op) {
                let (done, next) = match step {
                    Step::Done(next) => (done | 1 << number, next),
                    Step::Half(next) => (done, next),
                };
                if !self.seen.insert((done, next.clone())) {
                    continue;
                }
                self.order.push(number);
                if self.goes_on(done, &next) {
                    return true;
                }
                self.order.pop();
            }
        }
        false
    }
}
