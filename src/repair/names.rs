//! Names of streams and types as small numbers.
//!
//! A row of the dataflow is small because it names its stream and type by number. Numbers depend on
//! which worker came first, so nothing that is published may depend on them: results are put in
//! order by name. Between processes [`renumber`](super::renumber) brings them to one numbering.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The names that a process has numbered; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Names {
    table: Arc<RwLock<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    numbers: HashMap<Arc<str>, u32, foldhash::fast::RandomState>,
    names: Vec<Arc<str>>,
}

impl Names {
    /// The number of `name`, a new one if it has none.
    pub fn number(&self, name: &str) -> u32 {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(&number) = table.numbers.get(name) {
            return number;
        }
        let number = table.names.len() as u32;
        let name: Arc<str> = name.into();
        table.names.push(Arc::clone(&name));
        table.numbers.insert(name, number);
        number
    }

    /// The name with this number.
    ///
    /// # Panics
    /// Where no name was given the number.
    pub fn name(&self, number: u32) -> Arc<str> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&table.names[number as usize])
    }
}

/// One worker's view of [`Names`]: what it has met is found without asking the others.
#[derive(Debug)]
pub struct LocalNames {
    shared: Names,
    known: HashMap<Box<str>, u32, foldhash::fast::RandomState>,
    /// Names that this worker met since they were last taken.
    fresh: Vec<(u32, Box<str>)>,
}

impl LocalNames {
    /// A view of `shared`.
    pub fn new(shared: Names) -> Self {
        LocalNames {
            shared,
            known: HashMap::default(),
            fresh: Vec::new(),
        }
    }

    /// The number of `name`.
    #[inline]
    pub fn number(&mut self, name: &str) -> u32 {
        match self.known.get(name) {
            Some(&number) => number,
            None => self.meet(name),
        }
    }

    #[cold]
    fn meet(&mut self, name: &str) -> u32 {
        let number = self.shared.number(name);
        self.known.insert(name.into(), number);
        self.fresh.push((number, name.into()));
        number
    }

    /// The names met since the last call, with their numbers.
    pub fn take_fresh(&mut self) -> Vec<(u32, Box<str>)> {
        std::mem::take(&mut self.fresh)
    }
}
