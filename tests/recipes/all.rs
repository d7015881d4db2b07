//! Runs each recipe of the documentation. `src/recipes.rs` shows these files as they are, each at most a screen.
//! The package `tests/checks` runs them.
#![allow(clippy::unwrap_used)]

mod cancellation;
mod certificate;
mod dialing_client;
mod every_split_point;
mod fixture;
mod framing_over_tls;
mod http1;
mod http2;
mod partition;
mod request_format;
mod rustls_on_a_ring;
mod short_transfers;
mod shutdown_order;
mod staged_response;
mod tls_by_single_bytes;
mod tls_on_tokio;
mod tls_on_tokio_uring;
mod vanished_peer;
mod vanished_server;
mod your_own_stream;
