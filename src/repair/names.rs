//! Names of streams and types as small numbers.
//!
//! A row of the dataflow is small because it names its stream and type by number. Numbers depend on
//! which worker came first, so nothing that is published may depend on them: results are put in
//! order by name. Between processes [`renumber`](super::renumber) brings them to one numbering.
//!
//! Where names are forgotten, a number that nobody holds is given to another name. Whoever keeps
//! a number beyond the epochs that are under way holds it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use crate::time::Epoch;

/// The names that a process has numbered; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Names {
    table: Arc<RwLock<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    numbers: HashMap<Arc<str>, u32, foldhash::fast::RandomState>,
    names: Vec<Named>,
    /// Numbers that name nothing.
    free: Vec<u32>,
}

#[derive(Debug)]
struct Named {
    name: Arc<str>,
    holders: u32,
    /// The number that is found by the name, where this is a further one.
    first: Option<u32>,
}

impl Names {
    /// The number of `name`, a new one if it has none.
    pub fn number(&self, name: &str) -> u32 {
        self.write().number(name)
    }

    /// The number of `name`, held.
    pub fn number_held(&self, name: &str) -> u32 {
        let mut table = self.write();
        let number = table.number(name);
        table.names[number as usize].holders += 1;
        number
    }

    /// A further number for the name of `number`, which is held as long as this one is.
    pub fn further(&self, number: u32) -> u32 {
        let mut table = self.write();
        let named = &mut table.names[number as usize];
        let name = Arc::clone(&named.name);
        let first = named.first.unwrap_or(number);
        table.names[first as usize].holders += 1;
        table.add(Named {
            name,
            holders: 0,
            first: Some(first),
        })
    }

    /// Holds `number`, which then names what it names until it is released.
    pub fn hold(&self, number: u32) {
        self.write().names[number as usize].holders += 1;
    }

    /// Releases `number`, which was held.
    pub fn release(&self, number: u32) {
        let mut table = self.write();
        let mut released = Some(number);
        while let Some(number) = released {
            let named = &mut table.names[number as usize];
            named.holders -= 1;
            if named.holders > 0 {
                return;
            }
            released = named.first;
            let name = std::mem::replace(&mut named.name, Arc::from(""));
            if released.is_none() {
                table.numbers.remove(&name);
            }
            table.free.push(number);
        }
        if table.numbers.len() < table.numbers.capacity() / 4 {
            table.numbers.shrink_to_fit();
        }
    }

    /// The name with this number.
    ///
    /// # Panics
    /// Where no name was given the number.
    pub fn name(&self, number: u32) -> Arc<str> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&table.names[number as usize].name)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let name: Arc<str> = name.into();
        let number = self.add(Named {
            name: Arc::clone(&name),
            holders: 0,
            first: None,
        });
        self.numbers.insert(name, number);
        number
    }

    fn add(&mut self, named: Named) -> u32 {
        match self.free.pop() {
            Some(number) => {
                self.names[number as usize] = named;
                number
            }
            None => {
                self.names.push(named);
                self.names.len() as u32 - 1
            }
        }
    }
}

/// One worker's view of [`Names`]: what it has met is found without asking the others.
#[derive(Debug)]
pub struct LocalNames {
    shared: Names,
    /// The number of each name, and the epoch in which it was last asked for. Short names lie in the
    /// table itself.
    short: HashMap<Short, (u32, Epoch), foldhash::fast::RandomState>,
    long: HashMap<Box<str>, (u32, Epoch), foldhash::fast::RandomState>,
    /// Names that this worker met since they were last taken.
    fresh: Vec<(u32, Box<str>)>,
    epoch: Epoch,
    /// How many names there may be before those that are no longer used are let go.
    most: usize,
    recent: Recent,
}

/// Fewer names than this are always kept.
const FEW_NAMES: usize = 4096;
/// A name that was not used for this many epochs is let go.
const IDLE_EPOCHS: u64 = 64;

impl LocalNames {
    /// A view of `shared`.
    pub fn new(shared: Names) -> Self {
        LocalNames {
            shared,
            short: HashMap::default(),
            long: HashMap::default(),
            fresh: Vec::new(),
            epoch: 0,
            most: FEW_NAMES,
            recent: Recent::default(),
        }
    }

    /// The number of `name`.
    #[inline]
    pub fn number(&mut self, name: &str) -> u32 {
        let asked = self.ask(name);
        self.answer(asked)
    }

    /// Begins to look `name` up. Who asks for many and then takes all answers waits for the memory of
    /// several at a time.
    #[inline]
    pub fn ask(&mut self, name: &str) -> Asked {
        let Some(short) = Short::of(name) else {
            return Asked::Known(match self.long.get_mut(name) {
                Some(known) => used(known, self.epoch),
                None => self.meet(name, None),
            });
        };
        match self.recent.get(short) {
            Some(number) => Asked::Known(number),
            None => Asked::Short(short),
        }
    }

    /// The number of the name that was asked for.
    #[inline]
    pub fn answer(&mut self, asked: Asked) -> u32 {
        let short = match asked {
            Asked::Known(number) => return number,
            Asked::Short(short) => short,
        };
        let number = match self.short.get_mut(&short) {
            Some(known) => used(known, self.epoch),
            None => self.meet(&short.name(), Some(short)),
        };
        self.recent.set(short, number);
        number
    }

    #[cold]
    fn meet(&mut self, name: &str, short: Option<Short>) -> u32 {
        let number = self.shared.number_held(name);
        let known = (number, self.epoch);
        match short {
            Some(short) => self.short.insert(short, known),
            None => self.long.insert(name.into(), known),
        };
        self.fresh.push((number, name.into()));
        number
    }

    /// The name with this number.
    ///
    /// # Panics
    /// Where no name was given the number.
    pub fn name(&self, number: u32) -> Arc<str> {
        self.shared.name(number)
    }

    /// The names met since the last call, with their numbers.
    pub fn take_fresh(&mut self) -> Vec<(u32, Box<str>)> {
        std::mem::take(&mut self.fresh)
    }

    /// Begins `epoch`, and lets go of names that were not used for long; all epochs before
    /// `under_way` are committed.
    pub fn begin(&mut self, epoch: Epoch, under_way: Epoch) {
        self.epoch = epoch;
        // So that every name that is used is seen to be.
        self.recent.clear();
        if self.short.len() + self.long.len() <= self.most {
            return;
        }
        let before = epoch.saturating_sub(IDLE_EPOCHS).min(under_way);
        let stays = |(number, used): &mut (u32, Epoch)| {
            let stays = *used >= before;
            if !stays {
                self.shared.release(*number);
            }
            stays
        };
        self.short.retain(|_, known| stays(known));
        self.long.retain(|_, known| stays(known));
        self.most = (2 * (self.short.len() + self.long.len())).max(FEW_NAMES);
        self.short.shrink_to(self.most);
        self.long.shrink_to(self.most);
    }
}

/// The number of a known name, which is used in `epoch`.
#[inline]
fn used((number, last): &mut (u32, Epoch), epoch: Epoch) -> u32 {
    *last = epoch;
    *number
}

/// A name that was asked for.
#[derive(Clone, Copy, Debug)]
pub enum Asked {
    /// Its number.
    Known(u32),
    /// The name, which is to be looked up.
    Short(Short),
}

/// A name of few bytes, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Short {
    /// Its first bytes,
    first: u64,
    /// and its last, which overlap those where there are fewer; the uppermost byte is its length.
    rest: u64,
}

impl Short {
    const BYTES_MAX: usize = 15;

    #[inline]
    fn of(name: &str) -> Option<Short> {
        let bytes = name.as_bytes();
        let length = bytes.len();
        if length > Self::BYTES_MAX {
            return None;
        }
        let (first, last) = if let (Some(first), Some(last)) =
            (bytes.first_chunk::<8>(), bytes.last_chunk::<8>())
        {
            // Of two times eight bytes the one in the middle is there twice.
            (u64::from_le_bytes(*first), u64::from_le_bytes(*last) >> 8)
        } else if let (Some(first), Some(last)) =
            (bytes.first_chunk::<4>(), bytes.last_chunk::<4>())
        {
            let number = |four: &[u8; 4]| u64::from(u32::from_le_bytes(*four));
            (number(first), number(last))
        } else {
            let fold = |number, byte: &u8| number << 8 | u64::from(*byte);
            (bytes.iter().fold(0, fold), 0)
        };
        let rest = last | (length as u64) << 56;
        Some(Short { first, rest })
    }

    /// The name.
    fn name(self) -> String {
        let length = (self.rest >> 56) as usize;
        let mut bytes = [0; 16];
        if length >= 8 {
            bytes[..8].copy_from_slice(&self.first.to_le_bytes());
            bytes[length - 7..length].copy_from_slice(&self.rest.to_le_bytes()[..7]);
        } else if length >= 4 {
            bytes[..4].copy_from_slice(&self.first.to_le_bytes()[..4]);
            bytes[length - 4..length].copy_from_slice(&self.rest.to_le_bytes()[..4]);
        } else {
            for (at, byte) in bytes[..length].iter_mut().enumerate() {
                *byte = (self.first >> (8 * (length - 1 - at))) as u8;
            }
        }
        // The bytes are those of a text.
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[inline]
    fn slot(self) -> usize {
        let hash = self.first.wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ self.rest.wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
        (hash >> (u64::BITS - RECENT_BITS)) as usize
    }
}

const RECENT_BITS: u32 = 10;

/// Short names that were looked up lately, one for each value of a hash. Who makes names that share
/// one only makes look-ups as slow as they are without it.
#[derive(Debug)]
struct Recent(Vec<Option<(Short, u32)>>);

impl Default for Recent {
    fn default() -> Self {
        Recent(vec![None; 1 << RECENT_BITS])
    }
}

impl Recent {
    #[inline]
    fn get(&self, short: Short) -> Option<u32> {
        let (known, number) = self.0[short.slot()]?;
        (known == short).then_some(number)
    }

    fn set(&mut self, short: Short, number: u32) {
        self.0[short.slot()] = Some((short, number));
    }

    fn clear(&mut self) {
        self.0.fill(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_have_equal_numbers_and_others_do_not() {
        let mut names = LocalNames::new(Names::default());
        let letters = ["a", "b"];
        let mut all = vec![String::new()];
        for at in 0..18 {
            // All names of few letters, and of more those that differ in one place.
            let mut longer: Vec<String> = Vec::new();
            for name in all.iter().filter(|name| name.len() == at) {
                longer.extend(letters.map(|letter| name.clone() + letter));
            }
            longer.truncate(64);
            all.extend(longer);
        }
        for name in &all {
            assert!(Short::of(name).is_none_or(|short| short.name() == *name));
        }
        let numbers: Vec<u32> = all.iter().map(|name| names.number(name)).collect();
        for _ in 0..2 {
            let again = all.iter().map(|name| names.number(name));
            assert!(again.eq(numbers.iter().copied()));
        }
        let distinct: std::collections::BTreeSet<u32> = numbers.iter().copied().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn a_number_is_given_again_when_nobody_holds_it() {
        let names = Names::default();
        let a = names.number_held("a");
        let again = names.further(a);
        names.hold(again);
        names.release(a);
        assert_eq!(&*names.name(again), "a");
        assert_eq!(names.number("a"), a, "a further number holds the first");
        names.release(again);
        let (b, c) = (names.number("b"), names.number("c"));
        assert!([a, again].contains(&b) && [a, again].contains(&c) && b != c);
    }
}
