//! What travels between workers by the vector.
//!
//! An exchange of single rows looks at each row, copies it into one of many small buffers, and the
//! receiver frees what the sender has allocated. Where all rows of an epoch are at hand at once, a
//! [`Dealer`] lays each into the vector of the worker that is to have it, and the vectors travel.
//! They come back as [`Spare`]s: a worker gets about as many as it sends.

use std::cell::RefCell;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use timely::ExchangeData;
use timely::dataflow::channels::pact::Exchange;

/// Rows on their way from one worker to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parcel<T> {
    /// The worker that has sent them.
    pub from: u32,
    /// The worker that is to have them.
    pub to: u32,
    /// The rows, in the order in which they were dealt.
    pub rows: Vec<T>,
}

/// What brings parcels to their worker.
pub fn by_addressee<T: ExchangeData>()
-> Exchange<Parcel<T>, impl FnMut(&Parcel<T>) -> u64 + 'static> {
    Exchange::new(|parcel: &Parcel<T>| u64::from(parcel.to))
}

/// Empty vectors that were used before; clones share them.
#[derive(Debug)]
pub struct Spare<T>(Rc<RefCell<Vec<Vec<T>>>>);

/// More vectors than this are let go.
const SPARE_MAX: usize = 8;

impl<T> Default for Spare<T> {
    fn default() -> Self {
        Spare(Rc::default())
    }
}

impl<T> Clone for Spare<T> {
    fn clone(&self) -> Self {
        Spare(Rc::clone(&self.0))
    }
}

impl<T> Spare<T> {
    /// An empty vector.
    pub fn take(&self) -> Vec<T> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a vector back that is no longer needed.
    pub fn give_back(&self, mut vector: Vec<T>) {
        let mut spare = self.0.borrow_mut();
        if spare.len() < SPARE_MAX {
            vector.clear();
            spare.push(vector);
        }
    }
}

/// Deals the rows of one worker to all of them.
#[derive(Debug)]
pub struct Dealer<T> {
    from: u32,
    /// By the worker that is to have them.
    dealt: Vec<Vec<T>>,
    spare: Spare<T>,
}

impl<T> Dealer<T> {
    /// A dealer of worker `from`, one of `workers`.
    pub fn new(from: u32, workers: u32, spare: Spare<T>) -> Self {
        let dealt = (0..workers).map(|_| Vec::new()).collect();
        Dealer { from, dealt, spare }
    }

    /// Deals a row to the worker that `hash` falls to.
    #[inline]
    pub fn push(&mut self, hash: u64, row: T) {
        let workers = self.dealt.len() as u64;
        // The same, but much sooner.
        let to = match workers.is_power_of_two() {
            true => hash & (workers - 1),
            false => hash % workers,
        };
        let rows = &mut self.dealt[to as usize];
        if rows.capacity() == 0 {
            *rows = self.spare.take();
        }
        rows.push(row);
    }

    /// The parcels of what was dealt since this was called last.
    pub fn parcels(&mut self) -> impl Iterator<Item = Parcel<T>> {
        let from = self.from;
        let dealt = self.dealt.iter_mut().enumerate();
        dealt
            .filter(|(_, rows)| !rows.is_empty())
            .map(move |(to, rows)| Parcel {
                from,
                to: to as u32,
                rows: std::mem::take(rows),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_goes_to_its_worker_in_order() {
        let spare = Spare::default();
        let mut dealer = Dealer::new(1, 3, spare.clone());
        for _ in 0..2 {
            for row in 0..10_u64 {
                dealer.push(row * row, row);
            }
            let parcels: Vec<Parcel<u64>> = dealer.parcels().collect();
            let dealt: Vec<(u32, u32, &[u64])> = parcels
                .iter()
                .map(|parcel| (parcel.from, parcel.to, &parcel.rows[..]))
                .collect();
            assert_eq!(
                dealt,
                [(1, 0, &[0, 3, 6, 9][..]), (1, 1, &[1, 2, 4, 5, 7, 8][..])]
            );
            for parcel in parcels {
                spare.give_back(parcel.rows);
            }
        }
        assert!(dealer.parcels().next().is_none());
    }
}
