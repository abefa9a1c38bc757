//! Enrolment: how somebody without a certificate gets one, by a token that the manager gave out once.
//!
//! ```text
//!   vmm-manager invite ─► token: id, secret, pin of the authority's key ─► somebody carries it
//!
//!   applicant                                             manager
//!     │ TLS 1.3, ALPN xvmp-join/1, no client certificate     │  shows its certificate and the authority's
//!     │ ───────────────────────────────────────────────────► │
//!     │   pin = the authority's key? a manager's certificate of it?
//!     │ Join { token id, Noise msg1: psk, signing request }  │  knows the id? the secret? a request signed by its key?
//!     │ ───────────────────────────────────────────────────► │  binds the token to the applicant's inner key
//!     │ Joined { Noise msg2: certificate }                   │
//!     │ ◄─────────────────────────────────────────────────── │
//! ```
//!
//! Private keys are made by the applicant and never leave it: that it has the TLS key is proved by the signing request, that it has the
//! inner key by the handshake, whose static key it is. The token's secret never crosses the wire; it is the handshake's pre-shared key.
//! Without the secret nobody can ask, and without the authority's key nobody can answer, even who ends TLS in between.
//!
//! A token is good once: for the first inner key that comes with it, and for that one again when an answer was lost. [`join`] therefore
//! keeps its new keys on disk until the certificate is there.
//!
//! How it fails. To the applicant: [`JoinError`], each with what to do. At the server: whatever is wrong before the secret was proved is
//! status 400 and the same bytes as everywhere; after that a sealed fault.

mod applicant;
mod documents;
mod handshake;
mod registrar;
mod token;

pub use applicant::{JoinError, join};
pub(crate) use registrar::answer;
pub use registrar::{Application, Invitation, Registrar};
pub use token::{JoinToken, PIN_BYTES, SECRET_BYTES, TokenError, pin_of};
