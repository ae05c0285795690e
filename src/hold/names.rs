//! Which number a file gets where others have its name.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::Held;
use crate::upload::FinalName;

/// Names of which the last number is remembered.
const NAMES_MAX: usize = 1024;
/// Numbers that are tried one after the other; behind them any number of ever more is passed over.
const ONE_BY_ONE: u32 = 16;

/// The numbers that names got last, of those that several files wanted. Without them the
/// thousandth file of one name would try a thousand. What is forgotten, or was given by another
/// process, costs some tries.
#[derive(Debug, Default)]
pub(super) struct Numbers(Mutex<HashMap<FinalName, u32>>);

impl Numbers {
    /// The first number that may be free: 1 is the name itself.
    fn first(&self, name: &FinalName) -> u32 {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = known.get_mut(name) else { return 1 };
        *last = last.saturating_add(1);
        *last
    }

    fn tried(&self, name: &FinalName, number: u32) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= NAMES_MAX && !known.contains_key(name) {
            let any = known.keys().next().cloned();
            any.and_then(|any| known.remove(&any));
        }
        let last = known.entry(name.clone()).or_insert(number);
        *last = number.max(*last);
    }
}

impl Held {
    /// The number to try first for a file that is to be called `name`: 1, that is the name itself,
    /// where nothing is known of others that have it.
    pub fn first_number(&self, name: &FinalName) -> u32 {
        self.holds().numbers.first(name)
    }

    /// The number to try behind `number`, which the `tries`th try found taken; none if there is no
    /// other.
    pub fn next_number(&self, name: &FinalName, number: u32, tries: u32) -> Option<u32> {
        let next = number.checked_add(step(tries)?)?;
        self.holds().numbers.tried(name, next);
        Some(next)
    }
}

/// By how much the next number is higher. By chance: of fixed places, whoever comes later finds one
/// more taken each time, and the numbers double with every start.
fn step(tries: u32) -> Option<u32> {
    let widest = 2_u32.checked_pow(tries.saturating_sub(ONE_BY_ONE))?;
    let chance = getrandom::u32().unwrap_or(0);
    chance.checked_rem(widest)?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_once_and_not_remembered_for_ever() {
        let numbers = Numbers::default();
        let name = |n: usize| FinalName::parse(&format!("{n}")).unwrap();
        assert_eq!((numbers.first(&name(0)), numbers.first(&name(0))), (1, 1));
        numbers.tried(&name(0), 7);
        numbers.tried(&name(0), 3);
        assert_eq!((numbers.first(&name(0)), numbers.first(&name(0))), (8, 9));
        for n in 1..NAMES_MAX {
            numbers.tried(&name(n), 2);
        }
        assert_eq!((numbers.first(&name(0)), numbers.first(&name(1))), (10, 3));
        numbers.tried(&name(NAMES_MAX), 2);
        assert_eq!(numbers.first(&name(NAMES_MAX)), 3);
        let known = (0..=NAMES_MAX).filter(|n| numbers.first(&name(*n)) > 1).count();
        assert_eq!(known, NAMES_MAX);
    }

    /// Found in review: after thirty starts the numbers were in the thousands, and after fifty
    /// there were none left.
    #[test]
    fn numbers_stay_near_the_count_of_files_where_each_process_knows_nothing() {
        let mut taken = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let (mut number, mut tries) = (1_u32, 0);
            while !taken.insert(number) {
                tries += 1;
                number += step(tries).unwrap();
            }
            assert!(tries < 60, "{tries}");
        }
        assert!(*taken.last().unwrap() < 50_000, "{taken:?}");
    }
}
