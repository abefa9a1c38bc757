//! The JSON API: the same verbs and the same roles as XVMP/1, for consoles and scripts that speak HTTP.
//!
//! ```text
//!   TcpListener ─► [TLS] ─► HTTP/1.1, limits ─► Host ─► token ─► route ─► v1::Request ─► Service::call ─► v1::Reply ─► JSON
//!                  edge.rs                     guard.rs          routes.rs   ask.rs       (the manager)     answer.rs
//! ```
//!
//! Nothing is decided here: a route says only which verb it is and where its fields stand. What a verb takes and gives is read off the wire
//! types themselves (`shape`), so that the API, its OpenAPI document and XVMP/1 cannot say different things; names are the wire's in snake_case, as
//! `vmmctl` writes them.
//!
//! Who may call: whoever shows a token (`tokens`), in the role that it was made with. It listens on loopback, and elsewhere only with TLS. A
//! request for a host that it is not called by is refused, so that no web page can reach it under a name of its own; no page of another origin
//! is told anything, since nothing says that it may; and nothing that only looks changes anything.
//!
//! How it fails: every fault is RFC 9457's problem+json with a code of the wire's closed list. A panic ends one request. What is too large, too
//! slow or too much is refused before it is worked on; each limit has a name in `edge` and `guard`.

mod answer;
mod ask;
mod edge;
mod events;
mod fields;
mod guard;
mod json;
mod openapi;
mod problem;
mod routes;
mod shape;
mod tokens;

#[cfg(test)]
mod tests;

pub use edge::{Edge, EdgeError, HttpOptions};
pub use openapi::document;
pub use tokens::{Token, TokenError, Tokens};
