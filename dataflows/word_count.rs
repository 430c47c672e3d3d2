//! Counts the words of a text: the first dataflow that everybody writes.
//!
//! Prints every word with how often it is there, in alphabetical order.
//!
//! ```sh
//! cargo run --example word_count
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use amend::prelude::*;

fn main() -> Result<(), Error> {
    run(&Options::from_args(), |p| {
        p.create("lines", TEXT.lines().map(str::to_owned))
            .flat_map("words", words)
            .count_per_element("count")
            .write("print", print);
    })?;
    Ok(())
}

const TEXT: &str = "\
The river keeps no ledger. The miller does:
what the river brings, the miller writes down,
and what the river takes, the miller crosses out.
";

/// The words of a line, in lower case.
fn words(line: String) -> Vec<String> {
    let words = line.split(|c: char| !c.is_alphabetic());
    words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Is called with every change of the counts. There is one for each word, since the text is counted
/// when all of it was read.
fn print(_: Epoch, counted: &Element<(String, u64)>, _: isize) {
    let (word, times) = &counted.value;
    println!("{word:<8} {times}");
}
