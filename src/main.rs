//! The `amend` binary: hands over to [`amend::cli`].

fn main() -> std::process::ExitCode {
    amend::cli::main()
}
