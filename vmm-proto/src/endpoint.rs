//! Paths, media types and the limits of the HTTP layer.

use std::time::Duration;

/// The method of everything but the health check.
pub const METHOD: &str = "POST";

/// Opens a session.
pub const OPEN_PATH: &str = "/xvmp/1/open";

/// Carries one request and its answer.
pub const RPC_PATH: &str = "/xvmp/1/rpc";

/// Asks for a first certificate. On connections of [`crate::tls::ALPN_JOIN`] only, and all that there is on them.
pub const JOIN_PATH: &str = "/xvmp/1/join";

/// Says that the server is up. Needs a certificate like everything else, but no session.
pub const HEALTH_PATH: &str = "/healthz";

/// The one content type, compared as bytes.
pub const CONTENT_TYPE: &str = "application/vnd.smps-vmm.xvmp+xml;charset=utf-8";

/// Largest body of a request or an answer.
pub const BODY_BYTES_MAX: usize = 8 << 20;

/// Largest body of a request that opens a session: a handshake message is far smaller.
pub const OPEN_BYTES_MAX: usize = 16 << 10;

/// Time for a TLS handshake. A dom0 that is short of CPU time needs seconds.
pub const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for the first byte after TLS, and for the header of an HTTP/1.1 request.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for the body of a request.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that a server holds; further ones wait unaccepted.
pub const CONNECTION_COUNT_MAX: usize = 1024;

/// Of them, those of one principal; a further one is closed after the TLS handshake.
pub const CONNECTION_SHARE_MAX: usize = 128;

/// Connections of one address that are not authenticated yet.
pub const HANDSHAKE_SHARE_MAX: usize = 64;

/// Requests that a server works on; a further one gets status 503.
pub const REQUEST_COUNT_MAX: usize = 512;

/// Of them, those of one principal.
pub const REQUEST_SHARE_MAX: usize = 256;

/// Of those, the ones that only wait for something to happen. Less than a share, so that who waits can still ask.
pub const WAIT_SHARE_MAX: usize = 128;

/// Requests of one HTTP/2 connection at a time.
pub const STREAM_COUNT_MAX: u32 = 64;

/// Bytes of an HTTP/2 header list.
pub const HEADER_BYTES_MAX: u32 = 16 << 10;

/// What a client is told to wait after a 503.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often an idle HTTP/2 connection is probed, and how long the answer may take.
pub const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// How long a stopping server lets its requests finish.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// Longest deadline that a server honours, and what a call gets that names none.
pub const DEADLINE_MAX: Duration = Duration::from_secs(600);
