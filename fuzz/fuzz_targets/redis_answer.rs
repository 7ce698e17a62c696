//! What a Redis may answer to the limits' questions: pieces between 0xFF bytes, one for each time that it is written to.
#![no_main]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use secrecy::SecretString;
use tokio::runtime::Runtime;

use signet::limits::{Limits, OnOutage, Quota, Settings, SharedSettings, Store};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
});
static PIECES: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
static URL: LazyLock<String> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            let pieces = PIECES.lock().expect("nobody panics with it").clone();
            std::thread::spawn(move || {
                let mut question = [0; 8192];
                for piece in pieces {
                    let asked = matches!(connection.read(&mut question), Ok(1..));
                    if !asked || connection.write_all(&piece).is_err() {
                        return;
                    }
                }
            });
        }
    });
    format!("redis://{address}")
});

fuzz_target!(|data: &[u8]| {
    let pieces = data
        .split(|byte| *byte == 0xff)
        .take(8)
        .map(<[u8]>::to_vec)
        .collect();
    *PIECES.lock().expect("nobody panics with it") = pieces;
    let quota = |burst| Quota::new(1, Duration::from_secs(60), burst).expect("no zero in it");
    let settings = Settings {
        per_ip: quota(20),
        exempt: vec![],
        per_caller: quota(10),
        per_user: quota(5),
        failed_auth: quota(3),
        store: Store::Shared(SharedSettings {
            url: SecretString::from(URL.as_str()),
            on_outage: OnOutage::Closed,
            enforce: true,
            prefix: "signet".to_owned(),
            pepper: None,
        }),
    };
    RUNTIME.block_on(async {
        let limits = Limits::new(settings).expect("settings in order");
        limits.connect(Duration::from_millis(20)).await;
        let began = Instant::now();
        let mut passage = limits.passage(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77)));
        // Which of them refuses, if any, is the store's to say.
        if passage.admit_address().is_ok() && passage.admit_caller("shop").is_ok() {
            let _ = passage.admit_user("acme", "usr_1");
            let _ = passage.settle().await;
        }
        // One wait for an answer at the most, and room for a busy machine.
        assert!(began.elapsed() < Duration::from_secs(2));
    });
});
