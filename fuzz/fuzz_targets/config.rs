//! Whole configuration files: each is taken or refused with a place and a remedy, and the strings in it aren't repeated
//! where a secret might have been pasted.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

use signet::config::{self, Environment};
use signet_fuzz::NOW;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::temp_dir().join(format!("signet-fuzz-{}-config.toml", std::process::id()))
});

/// What somebody may have pasted in the place of a secret's name.
const PASTED: &str = "Vd8k2mQz7LpT4wY8sBnC6dFgH3jK5aEr";

fuzz_target!(|text: &[u8]| {
    std::fs::write(&*FILE, text).expect("a file in a temporary folder");
    let (config, problems) = config::examine(Some(&FILE), &Environment::default(), NOW);
    assert!(config.is_some() || !problems.is_empty());
    for problem in problems {
        assert!(!problem.message.is_empty());
        assert!(!problem.message.contains(PASTED), "{}", problem.message);
    }
});
