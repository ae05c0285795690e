//! What is done with an input, decoder by decoder.

mod document;
mod facts;
mod head;
mod names;
mod range;
mod serving;
mod settings;
mod values;

/// A decoder under any input.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As its corpus is called.
    pub name: &'static str,
    /// Panics where a property does not hold.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "addresses", run: values::addresses },
    Target { name: "arguments", run: settings::arguments },
    Target { name: "checksum", run: values::checksum },
    Target { name: "chunks_head", run: head::chunks },
    Target { name: "concatenation", run: values::concatenation },
    Target { name: "config_file", run: settings::file },
    Target { name: "forms", run: serving::forms },
    Target { name: "forwarded", run: head::forwarded },
    Target { name: "json", run: document::json },
    Target { name: "ledger", run: facts::ledger },
    Target { name: "metadata", run: values::metadata },
    Target { name: "names", run: names::names },
    Target { name: "numbers", run: head::numbers },
    Target { name: "ranges", run: range::ranges },
    Target { name: "sessions", run: serving::sessions },
    Target { name: "state_files", run: facts::files },
    Target { name: "tus_head", run: head::tus },
];
