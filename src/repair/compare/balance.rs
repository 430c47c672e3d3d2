//! Two sequences read side by side, and what only one of them holds.
//!
//! One rule: an element is let go as soon as the other side has had an equal one. Elements count by
//! their number, not by their place.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::hash::Hash;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// A sequence that lends its elements one at a time.
pub(super) trait Lend {
    /// An element.
    type Item: ?Sized + Eq + ToOwned<Owned: Eq + Hash + Ord + Clone>;

    /// The next element.
    fn next(&mut self) -> Result<Option<&Self::Item>>;
}

/// An element of `L` that is kept.
pub(super) type Kept<L> = <<L as Lend>::Item as ToOwned>::Owned;

/// What only one side holds, each as often as it holds it more often, in the order of the sequence.
#[derive(Debug)]
pub(super) struct Unbalanced<K> {
    pub(super) old: Vec<K>,
    pub(super) new: Vec<K>,
}

/// Reads both sequences to their ends, showing every element to `on_old` or `on_new`.
pub(super) fn walk<L: Lend>(
    mut old: L,
    mut new: L,
    mut on_old: impl FnMut(&L::Item),
    mut on_new: impl FnMut(&L::Item),
) -> Result<Unbalanced<Kept<L>>> {
    let mut balance = Balance::default();
    loop {
        let (from_old, from_new) = (old.next()?, new.next()?);
        if from_old.is_none() && from_new.is_none() {
            return Ok(balance.finish());
        }
        from_old.iter().for_each(|element| on_old(element));
        from_new.iter().for_each(|element| on_new(element));
        if from_old == from_new {
            continue;
        }
        if let Some(element) = from_old {
            balance.add(element.to_owned(), 1);
        }
        if let Some(element) = from_new {
            balance.add(element.to_owned(), -1);
        }
    }
}

/// How much more often the old side has had each element than the new one; never 0.
struct Balance<K> {
    counts: HashMap<K, Count, foldhash::fast::RandomState>,
    added: u64,
}

struct Count {
    more_in_old: i64,
    /// When the element was last found on one side only.
    since: u64,
}

impl<K> Default for Balance<K> {
    fn default() -> Self {
        Balance {
            counts: HashMap::default(),
            added: 0,
        }
    }
}

impl<K: Eq + Hash + Ord + Clone> Balance<K> {
    fn add(&mut self, element: K, more_in_old: i64) {
        self.added += 1;
        match self.counts.entry(element) {
            Entry::Vacant(entry) => {
                let since = self.added;
                entry.insert(Count { more_in_old, since });
            }
            Entry::Occupied(mut entry) => {
                entry.get_mut().more_in_old += more_in_old;
                if entry.get().more_in_old == 0 {
                    entry.remove();
                }
            }
        }
    }

    fn finish(self) -> Unbalanced<K> {
        let mut counts: Vec<(K, Count)> = self.counts.into_iter().collect();
        counts.sort_unstable_by(|(a, at_a), (b, at_b)| (at_a.since, a).cmp(&(at_b.since, b)));
        let mut unbalanced = Unbalanced {
            old: Vec::new(),
            new: Vec::new(),
        };
        for (element, count) in counts {
            let side = match count.more_in_old {
                1.. => &mut unbalanced.old,
                _ => &mut unbalanced.new,
            };
            let times = usize::try_from(count.more_in_old.unsigned_abs()).unwrap_or(usize::MAX);
            side.extend(std::iter::repeat_n(element, times));
        }
        unbalanced
    }
}

/// The lines of a file, without their line breaks.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    pub(super) fn open(path: &Path) -> Result<Lines> {
        let file = File::open(path).map_err(|error| super::not_opened(path, error))?;
        Ok(Lines {
            path: path.to_owned(),
            file: BufReader::with_capacity(1 << 16, file),
            line: Vec::new(),
            number: 0,
        })
    }

    /// Goes to the next line; false where there is none.
    pub(super) fn advance(&mut self) -> Result<bool> {
        self.line.clear();
        let read = self
            .file
            .read_until(b'\n', &mut self.line)
            .map_err(|error| {
                Error::unavailable(format!("could not read \"{}\"", self.path.display()))
                    .with_source(error)
            })?;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        }
        self.number += 1;
        Ok(read > 0)
    }

    /// The line that was gone to.
    pub(super) fn current(&self) -> &[u8] {
        &self.line
    }

    /// `path:line`, for a person.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.number)
    }
}

impl Lend for Lines {
    type Item = [u8];

    fn next(&mut self) -> Result<Option<&[u8]>> {
        Ok(self.advance()?.then_some(self.current()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Letters<'a>(std::str::Chars<'a>, char);

    impl Lend for Letters<'_> {
        type Item = char;

        fn next(&mut self) -> Result<Option<&char>> {
            Ok(self.0.next().map(|next| {
                self.1 = next;
                &self.1
            }))
        }
    }

    #[track_caller]
    fn check(old: &str, new: &str, expected_old: &str, expected_new: &str) {
        let letters = |text| Letters(str::chars(text), ' ');
        let (mut seen_old, mut seen_new) = (String::new(), String::new());
        let unbalanced = walk(
            letters(old),
            letters(new),
            |c| seen_old.push(*c),
            |c| seen_new.push(*c),
        )
        .unwrap();
        assert_eq!((seen_old.as_str(), seen_new.as_str()), (old, new));
        assert_eq!(unbalanced.old.iter().collect::<String>(), expected_old);
        assert_eq!(unbalanced.new.iter().collect::<String>(), expected_new);
    }

    #[test]
    fn what_one_side_alone_holds() {
        check("", "", "", "");
        check("abc", "abc", "", "");
        check("abc", "cab", "", "");
        check("abc", "bc", "a", "");
        check("bc", "abc", "", "a");
        check("aab", "abb", "a", "b");
        check("zzzaaa", "a", "zzzaa", "");
        check("dcba", "", "dcba", "");
        check("axbycz", "zwcvbu", "axy", "wvu");
    }

    #[test]
    fn equal_elements_are_let_go() {
        let mut balance = Balance::default();
        for _ in 0..3 {
            balance.add('a', 1);
            balance.add('b', -1);
            balance.add('a', -1);
            balance.add('b', 1);
        }
        assert!(balance.counts.is_empty());
    }
}
