//! Finds what people need to know in an error of TLS or HTTP.

use std::error::Error;
use std::io;

use rustls::{CertificateError, OtherError};

use crate::tls::PeerError;

/// How rustls names an alert. HTTP/2 keeps of an error of its stream only the text.
const ALERT: &str = "received fatal alert: ";

/// Alerts by which a peer refuses a certificate.
const CERTIFICATE_ALERTS: [&str; 6] = [
    "BadCertificate",
    "CertificateUnknown",
    "CertificateExpired",
    "CertificateRequired",
    "UnknownCA",
    "AccessDenied",
];

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
    match text.split_once(ALERT) {
        Some((_, alert)) => alert_reason(alert),
        None => text,
    }
}

fn tls_reason(error: &rustls::Error) -> Option<String> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
            inner.downcast_ref::<PeerError>().map(ToString::to_string)
        }
        rustls::Error::AlertReceived(alert) => Some(alert_reason(&format!("{alert:?}"))),
        _ => None,
    }
}

fn alert_reason(alert: &str) -> String {
    if !CERTIFICATE_ALERTS.iter().any(|name| alert.starts_with(name)) {
        return format!("the peer ended TLS ({alert}): its log says why");
    }
    format!(
        "the peer refused our certificate ({alert}): its log says why; credentials of both sides \
         must come from the same authority and be valid now"
    )
}
