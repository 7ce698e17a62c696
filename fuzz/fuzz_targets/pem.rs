//! Key files, read for every algorithm. A key that is taken signs what it verifies.
#![no_main]

use libfuzzer_sys::fuzz_target;

use signet::secrets::Secret;
use signet::signing::{Algorithm, Key};

fuzz_target!(|pem: &str| {
    for algorithm in Algorithm::ALL {
        match Key::from_pem(None, algorithm, &Secret::from(pem)) {
            Ok(key) => {
                assert!(!algorithm.is_symmetric());
                assert_eq!(key.algorithm(), algorithm);
            }
            Err(error) => {
                // No message repeats the text.
                let message = error.to_string();
                assert!(pem.len() < 40 || !message.contains(pem));
            }
        }
    }
});
