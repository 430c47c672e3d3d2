//! The circuit.
//!
//! Ids lie in blocks, blocks in larger blocks, and those in streams. A block folds its records, in
//! the order of their ids, into what is known of it: copies, gaps inside, and its two edges. The
//! same fold over edges gives the gaps between blocks. So a late event costs a few small folds,
//! however long its stream is.

use anyhow::Error;
use dbsp::algebra::UnimplementedSemigroup;
use dbsp::operator::Fold;
use dbsp::typed_batch::SpineSnapshot;
use dbsp::utils::{Tup2, Tup4};
use dbsp::{IndexedZSetHandle, OrdIndexedZSet, OrdZSet, OutputHandle, RootCircuit, ZWeight};
use job::reader::Row;

/// Ids of a block, as a power of two. Larger blocks make an epoch fold more, smaller ones are more keys.
const BLOCK_BITS: u32 = 4;
/// Blocks of a larger block, as a power of two.
const LARGER_BITS: u32 = 8;

/// The stream, and the id without its last bits.
pub(crate) type Key = Tup2<u32, i64>;
/// The id, the time, where the record lies in the input, and its type; one bit more of the type
/// tells whether the event is valid.
pub(crate) type Sighting = Tup4<i64, i64, u32, u32>;
/// A gap's first and last id, the latest time below and the earliest above.
pub(crate) type Gap = Tup4<i64, i64, i64, i64>;
/// Where a record lies that is not published, and where the copy lies that is; it is its own where
/// it is not valid.
pub(crate) type Letter = Tup2<u32, u32>;
/// Ids from one edge to the other: the first, its earliest time, the last, its latest time.
type Run = Tup4<i64, i64, i64, i64>;
/// What is known of a block: its run, its gaps, its letters, and the copies of its last event.
type Block = Tup4<Option<Run>, Vec<Gap>, Vec<Letter>, Vec<Tup2<u32, bool>>>;
/// What is known of a larger block.
type Larger = Tup2<Option<Run>, Vec<Gap>>;

/// The highest count, and the types that have it.
type Frequent = Tup2<ZWeight, Vec<u32>>;

/// The ends of the circuit.
pub(crate) struct Handles {
    pub(crate) sightings: IndexedZSetHandle<Key, Sighting>,
    pub(crate) letters: OutputHandle<SpineSnapshot<OrdZSet<Letter>>>,
    pub(crate) gaps: OutputHandle<SpineSnapshot<OrdZSet<Tup2<u32, Gap>>>>,
    /// By stream, its most frequent types.
    pub(crate) kinds: OutputHandle<SpineSnapshot<OrdIndexedZSet<u32, Vec<u32>>>>,
}

/// A record as the circuit takes it.
pub(crate) fn sighting(row: &Row, at: u32) -> Tup2<Key, Tup2<Sighting, ZWeight>> {
    let key = Tup2(row.stream, row.id >> BLOCK_BITS);
    let kind = row.kind << 1 | u32::from(row.is_valid);
    Tup2(key, Tup2(Tup4(row.id, row.time, at, kind), 1))
}

pub(crate) fn build(circuit: &mut RootCircuit) -> Result<Handles, Error> {
    let (sightings, handle) = circuit.add_input_indexed_zset::<Key, Sighting>();

    let blocks = sightings.aggregate(Fold::<_, _, UnimplementedSemigroup<_>, _, _>::with_output(
        Block::default(),
        add,
        finish,
    ));
    let letters = blocks.flat_map(|(_, Tup4(_, _, letters, _))| letters.clone());
    let inside = blocks.flat_map(|(Tup2(stream, _), Tup4(_, gaps, _, _))| of(*stream, gaps));

    let edges = blocks.map_index(|(Tup2(stream, block), Tup4(run, _, _, _))| {
        (Tup2(*stream, block >> LARGER_BITS), run.unwrap_or_default())
    });
    let larger = edges.aggregate(Fold::<_, _, UnimplementedSemigroup<_>, _, _>::new(
        Larger::default(),
        join,
    ));
    let between = larger.flat_map(|(Tup2(stream, _), Tup2(_, gaps))| of(*stream, gaps));

    let edges =
        larger.map_index(|(Tup2(stream, _), Tup2(run, _))| (*stream, run.unwrap_or_default()));
    let streams = edges.aggregate(Fold::<_, _, UnimplementedSemigroup<_>, _, _>::new(
        Larger::default(),
        join,
    ));
    let around = streams.flat_map(|(stream, Tup2(_, gaps))| of(*stream, gaps));
    let gaps = inside.sum([&between, &around]);

    let kinds = sightings
        .map(|(Tup2(stream, _), Tup4(_, _, _, kind))| Tup2(*stream, kind >> 1))
        .weighted_count()
        .map_index(|(Tup2(stream, kind), count)| (*stream, Tup2(*count, *kind)))
        .aggregate(Fold::<_, _, UnimplementedSemigroup<_>, _, _>::with_output(
            Frequent::default(),
            count_in,
            |Tup2(_, kinds)| kinds,
        ));
    Ok(Handles {
        sightings: handle,
        letters: letters.accumulate_output(),
        gaps: gaps.accumulate_output(),
        kinds: kinds.accumulate_output(),
    })
}

/// The gaps of a stream.
fn of(stream: u32, gaps: &[Gap]) -> Vec<Tup2<u32, Gap>> {
    gaps.iter().map(|gap| Tup2(stream, *gap)).collect()
}

/// Adds a record to its block. They come by id, then time, then place.
fn add(block: &mut Block, sighting: &Sighting, _: ZWeight) {
    let Tup4(run, gaps, letters, copies) = block;
    let Tup4(id, time, at, kind) = *sighting;
    let is_copy = matches!(run, Some(Tup4(_, _, last, latest)) if (*last, *latest) == (id, time));
    if !is_copy {
        give_seat(copies, letters);
        extend(run, gaps, &Tup4(id, time, id, time));
    }
    copies.push(Tup2(at, kind & 1 == 1));
}

fn finish(Tup4(run, gaps, mut letters, mut copies): Block) -> Block {
    give_seat(&mut copies, &mut letters);
    Tup4(run, gaps, letters, Vec::new())
}

/// The first valid copy of an event is published, and the others are not.
fn give_seat(copies: &mut Vec<Tup2<u32, bool>>, letters: &mut Vec<Letter>) {
    let Some(Tup2(first, _)) = copies.first() else {
        return;
    };
    let valid = copies.iter().find(|Tup2(_, is_valid)| *is_valid);
    let seat = valid.map_or(*first, |Tup2(at, _)| *at);
    if valid.is_none() {
        letters.push(Tup2(seat, seat));
    }
    let others = copies.drain(..).filter(|Tup2(at, _)| *at != seat);
    letters.extend(others.map(|Tup2(at, _)| Tup2(at, seat)));
}

/// Adds a block to a larger one.
fn join(Tup2(run, gaps): &mut Larger, next: &Run, _: ZWeight) {
    extend(run, gaps, next);
}

/// Lets `run` go on with `next`, which does not begin before its end.
fn extend(run: &mut Option<Run>, gaps: &mut Vec<Gap>, next: &Run) {
    let Tup4(first, earliest, last, latest) = *next;
    let Some(Tup4(_, _, end, end_latest)) = run else {
        *run = Some(*next);
        return;
    };
    if *end == first {
        // Later sightings of an id have later times.
        *end_latest = latest;
        return;
    }
    if *end + 1 < first {
        gaps.push(Tup4(*end + 1, first - 1, *end_latest, earliest));
    }
    (*end, *end_latest) = (last, latest);
}

/// Takes in how often a type occurs. The counts of a stream come from the lowest up.
fn count_in(Tup2(most, kinds): &mut Frequent, Tup2(count, kind): &Tup2<ZWeight, u32>, _: ZWeight) {
    if *count > *most {
        *most = *count;
        kinds.clear();
    }
    kinds.push(*kind);
}
