//! The tree of a policy's requirements, and what is known of it before all checks are done.
//!
//! Responsible for "all must hold" and "one must hold", nested in any way, in three values: held, failed, open. That is
//! what lets a request be settled by the cheapest check that settles it.

use crate::decision::Reason;

/// What is known of a leaf, or of a whole tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Not judged yet.
    #[default]
    Open,
    /// It holds.
    Held,
    /// It does not hold.
    Failed(Reason),
}

/// A requirement. Its leaves are indices into the policy's checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// Every one must hold.
    All(Vec<Requirement>),
    /// One must hold.
    Any(Vec<Requirement>),
    /// The check of this index must hold.
    Check(usize),
}

impl Requirement {
    /// What is known, given what is known of the leaves. Of several failed members of an `All` the first one gives the
    /// reason; a failed `Any` has a reason of its own.
    #[must_use]
    pub fn state(&self, leaves: &[State]) -> State {
        match self {
            Self::Check(index) => leaves.get(*index).copied().unwrap_or_default(),
            Self::All(members) => {
                let mut all = State::Held;
                for member in members {
                    match member.state(leaves) {
                        State::Held => {}
                        State::Open => all = State::Open,
                        State::Failed(reason) => return State::Failed(reason),
                    }
                }
                all
            }
            Self::Any(branches) => {
                let mut any = State::Failed(Reason::NoAlternativeHeld);
                for branch in branches {
                    match branch.state(leaves) {
                        State::Held => return State::Held,
                        State::Open => any = State::Open,
                        State::Failed(_) => {}
                    }
                }
                any
            }
        }
    }

    /// Whether a leaf can still decide something.
    #[must_use]
    pub fn is_open(&self, leaf: usize, leaves: &[State]) -> bool {
        // What is settled, as a whole or in a branch, is settled whatever its leaves turn out to be.
        self.state(leaves) == State::Open
            && match self {
                Self::Check(index) => *index == leaf,
                Self::All(members) | Self::Any(members) => {
                    members.iter().any(|member| member.is_open(leaf, leaves))
                }
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: State = State::Failed(Reason::TokenMismatch);
    const OTHER: State = State::Failed(Reason::SignatureMismatch);

    /// `All[0, Any[1, All[2, 3]]]`
    fn tree() -> Requirement {
        let deep = Requirement::All(vec![Requirement::Check(2), Requirement::Check(3)]);
        let any = Requirement::Any(vec![Requirement::Check(1), deep]);
        Requirement::All(vec![Requirement::Check(0), any])
    }

    #[test]
    fn a_tree_is_settled_as_early_as_it_can_be_and_no_earlier() {
        use State::{Held, Open};
        for (leaves, state, open) in [
            ([Open, Open, Open, Open], Open, vec![0, 1, 2, 3]),
            ([FAILED, Open, Open, Open], FAILED, vec![]),
            ([Held, Held, Open, Open], Held, vec![]),
            ([Held, FAILED, Open, Open], Open, vec![2, 3]),
            ([Held, FAILED, FAILED, Open], State::Failed(Reason::NoAlternativeHeld), vec![]),
            ([Held, FAILED, Held, Open], Open, vec![3]),
            ([Held, FAILED, Held, Held], Held, vec![]),
            ([Open, Held, Open, Open], Open, vec![0]),
            ([OTHER, FAILED, FAILED, FAILED], OTHER, vec![]),
            ([Open, FAILED, Held, OTHER], State::Failed(Reason::NoAlternativeHeld), vec![]),
        ] {
            assert_eq!(tree().state(&leaves), state, "{leaves:?}");
            let found: Vec<usize> = (0..5).filter(|leaf| tree().is_open(*leaf, &leaves)).collect();
            assert_eq!(found, open, "{leaves:?}");
        }
    }

    #[test]
    fn a_leaf_that_is_not_there_never_holds() {
        assert_eq!(Requirement::Check(9).state(&[]), State::Open);
    }
}
