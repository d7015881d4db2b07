//! Recipes. Each is a file of `tests/recipes`, shown unchanged, and runs as a test of ringpair itself.
//!
//! Pairs are made through io_uring if the host has it, and by plain system calls otherwise; tokio-uring's streams need
//! io_uring. All recipes together need these dependencies:
//!
//! ```toml
//! [dev-dependencies]
//! ringpair = { version = "0.1", features = ["tokio"] }
//! tokio = { version = "1", features = ["io-util", "macros", "net", "rt", "test-util", "time"] }
//! tokio-uring = "0.5"
//!
//! tokio-rustls = { version = "0.26", default-features = false, features = ["ring", "tls12"] }
//! rcgen = { version = "0.14", default-features = false, features = ["crypto", "ring"] }
//!
//! futures-util = { version = "0.3", features = ["sink"] }
//! tokio-util = { version = "0.7", features = ["codec"] }
//!
//! hyper = { version = "1", features = ["client", "http1", "server"] }
//! hyper-util = { version = "0.1", features = ["tokio"] }
//! http-body-util = "0.1"
//! h2 = "0.4"
//! http = "1"
//! tokio-tungstenite = { version = "0.30", default-features = false, features = ["handshake"] }
//!
//! rstest = "0.26"
//! ```
//!
//! # What the code writes
//!
//! ```
#![doc = include_str!("../tests/recipes/request_format.rs")]
//! ```
//!
//! # Answers that come late, in stages, or never
//!
//! ```
#![doc = include_str!("../tests/recipes/staged_response.rs")]
//! ```
//!
//! # Short transfers
//!
//! ```
#![doc = include_str!("../tests/recipes/short_transfers.rs")]
//! ```
//!
//! # Every split point
//!
//! ```
#![doc = include_str!("../tests/recipes/every_split_point.rs")]
//! ```
//!
//! # Shutdown order
//!
//! ```
#![doc = include_str!("../tests/recipes/shutdown_order.rs")]
//! ```
//!
//! # Cancellation by timeout
//!
//! ```
#![doc = include_str!("../tests/recipes/cancellation.rs")]
//! ```
//!
//! # A peer that vanishes
//!
//! ```
#![doc = include_str!("../tests/recipes/vanished_peer.rs")]
//! ```
//!
//! # A client that dials
//!
//! ```
#![doc = include_str!("../tests/recipes/dialing_client.rs")]
//! ```
//!
//! # A server that vanishes, and a connect that hangs
//!
//! ```
#![doc = include_str!("../tests/recipes/vanished_server.rs")]
//! ```
//!
//! # A connection that is cut and mended
//!
//! ```
#![doc = include_str!("../tests/recipes/partition.rs")]
//! ```
//!
//! # A certificate for the recipes with TLS
//!
//! ```
#![doc = include_str!("../tests/recipes/certificate.rs")]
//! ```
//!
//! # TLS on tokio
//!
//! ```
#![doc = include_str!("../tests/recipes/tls_on_tokio.rs")]
//! ```
//!
//! # TLS on tokio-uring
//!
//! ```
#![doc = include_str!("../tests/recipes/tls_on_tokio_uring.rs")]
//! ```
//!
//! ```
#![doc = include_str!("../tests/recipes/rustls_on_a_ring.rs")]
//! ```
//!
//! # TLS over a mocket, by single bytes
//!
//! ```
#![doc = include_str!("../tests/recipes/tls_by_single_bytes.rs")]
//! ```
//!
//! # Frames over TLS
//!
//! ```
#![doc = include_str!("../tests/recipes/framing_over_tls.rs")]
//! ```
//!
//! # A stream of your own
//!
//! ```
#![doc = include_str!("../tests/recipes/your_own_stream.rs")]
//! ```
//!
//! # HTTP/1 with hyper
//!
//! ```
#![doc = include_str!("../tests/recipes/http1.rs")]
//! ```
//!
//! # HTTP/2 with h2
//!
//! ```
#![doc = include_str!("../tests/recipes/http2.rs")]
//! ```
//!
//! # A fixture of rstest
//!
//! ```
#![doc = include_str!("../tests/recipes/fixture.rs")]
//! ```
//!
//! # nextest
//!
//! [nextest](https://nexte.st) runs each test in a process of its own. ringpair needs no configuration for that: the kernel
//! chooses every port, so concurrent tests do not collide. Three hints:
//!
//! - A one-shot keeps a ring for its thread, and every test has a thread of its own. A ring locks memory; if the limit is low
//!   (`ulimit -l`), run fewer tests at once: `cargo nextest run --test-threads 2`.
//! - nextest shows the output of a passed test, and so that it was skipped without a ring, only with
//!   `--success-output immediate`. `RINGPAIR_REQUIRE_URING=1` makes a missing ring a failure.
//! - ringpair's timeout ends when the pair is made. To limit the test itself, in `.config/nextest.toml`:
//!
//! ```toml
//! [profile.default]
//! slow-timeout = { period = "30s", terminate-after = 2 }
//! ```
