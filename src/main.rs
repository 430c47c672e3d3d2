//! The `amend` binary: hands over to [`amend::cli`].

/// Counts what lives, for `amend bench`.
#[global_allocator]
static ALLOCATOR: peak_alloc::PeakAlloc = amend::bench::ALLOCATOR;

fn main() -> std::process::ExitCode {
    amend::cli::main()
}
