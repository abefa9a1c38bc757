//! Finds what people need to know in an error of TLS or HTTP.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, OtherError};

use crate::tls::PeerError;

/// The reason behind an error, in words.
pub(crate) fn explain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(reason) = error.downcast_ref().and_then(tls_reason) {
            return reason;
        }
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
        if let Some(next) = next {
            let part = next.to_string();
            if !text.contains(&part) {
                text = format!("{text}: {part}");
            }
        }
    }
    text
}

fn tls_reason(error: &rustls::Error) -> Option<String> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
            inner.downcast_ref::<PeerError>().map(ToString::to_string)
        }
        rustls::Error::AlertReceived(alert) => Some(alert_reason(*alert)),
        _ => None,
    }
}

fn alert_reason(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => format!(
            "the peer refused our certificate ({alert:?}): its log says why; credentials of both \
             sides must come from the same authority and be valid now"
        ),
        _ => format!("the peer ended TLS ({alert:?}): its log says why"),
    }
}
