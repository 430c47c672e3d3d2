//! The `amend` binary: hands over to [`amend::cli`].

use peak_alloc::PeakAlloc;

/// Counts what lives, for `amend bench`.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn main() -> std::process::ExitCode {
    amend::cli::main()
}
