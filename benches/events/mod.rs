//! The events of benches: workloads of few streams and of many.

use amend::testing::workload::Workload;

/// The workload of these benches: `streams` equally busy ones, with a little of every damage.
pub(crate) fn workload(events: u64, streams: u64) -> Workload {
    Workload {
        streams,
        ..Workload::linq(events)
    }
}

/// The lines of a workload, without their ends.
pub(crate) fn records(workload: Workload) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    workload.write(&mut lines).expect("memory takes the lines");
    let lines = lines.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}
