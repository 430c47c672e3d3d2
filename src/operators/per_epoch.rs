//! Records that wait for their epoch to be complete.

use std::collections::BTreeMap;

use timely::dataflow::operators::{Capability, InputCapability};
use timely::progress::frontier::MutableAntichain;

use crate::time::Epoch;

/// What arrived for each epoch that is not complete yet, with the capabilities to answer it.
#[derive(Debug)]
pub struct PerEpoch<D> {
    ports: usize,
    stash: BTreeMap<Epoch, Waiting<D>>,
}

/// What arrived for one epoch.
#[derive(Debug)]
pub struct Waiting<D> {
    /// One capability for each output port of the operator, in order.
    pub capabilities: Vec<Capability<Epoch>>,
    /// What arrived.
    pub data: D,
}

impl<D: Default> PerEpoch<D> {
    /// For an operator with this many output ports.
    pub fn new(ports: usize) -> Self {
        PerEpoch {
            ports,
            stash: BTreeMap::new(),
        }
    }

    /// What has arrived for `epoch`, to be added to; `capability` came with the message.
    pub fn at(&mut self, epoch: Epoch, capability: &InputCapability<Epoch>) -> &mut D {
        let ports = self.ports;
        let waiting = self.stash.entry(epoch).or_insert_with(|| Waiting {
            capabilities: (0..ports)
                .map(|port| capability.delayed(&epoch, port))
                .collect(),
            data: D::default(),
        });
        &mut waiting.data
    }

    /// The earliest epoch that something has arrived for.
    pub fn first(&mut self) -> Option<(Epoch, &mut Waiting<D>)> {
        let first = self.stash.iter_mut().next()?;
        Some((*first.0, first.1))
    }

    /// The earliest epoch that every one of `frontiers` has passed, with what arrived for it.
    pub fn pop_passed(
        &mut self,
        frontiers: &[MutableAntichain<Epoch>],
    ) -> Option<(Epoch, Waiting<D>)> {
        let (&epoch, _) = self.stash.first_key_value()?;
        let passed = frontiers
            .iter()
            .all(|frontier| !frontier.less_equal(&epoch));
        if passed { self.stash.pop_first() } else { None }
    }
}

/// The epoch of a message of an operator whose times are totally ordered.
///
/// A message without a time makes no claim and carries nothing here.
pub fn epoch_of(capability: &InputCapability<Epoch>) -> Option<Epoch> {
    capability.least().copied()
}
