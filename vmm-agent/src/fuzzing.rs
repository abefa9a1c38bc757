//! What a fuzzer does with bytes of anybody's: it takes any, and panics when something is wrong with us.
//!
//! `fuzz/` runs it with libFuzzer; the test below runs each input that it has kept.

/// A guest's stream as a migration sends it: read and written again, and taken by an arrival, whose image must be one. The same bytes as pieces
/// of several lanes, likewise, and put in order.
pub fn migration(bytes: &[u8]) {
    crate::migrate::fuzz::stream(bytes);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn every_input_that_a_fuzzer_has_kept_is_harmless() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/migration");
        let entries = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for entry in entries {
            super::migration(&std::fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 10, "{count} inputs");
    }
}
