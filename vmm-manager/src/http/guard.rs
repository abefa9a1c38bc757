//! Before any route: for whom the request is meant, who asks, and how much of him is under way.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri};
use axum::middleware::Next;
use tokio_util::sync::CancellationToken;
use vmm_proto::clock::WallClock;
use vmm_proto::principal::Principal;
use vmm_proto::server::Service;
use vmm_proto::v1::{Fault, FaultCode};

use super::problem::Problem;
use super::tokens::Tokens;

/// What anybody may ask for, who is nobody.
pub(super) const OPEN: &[&str] = &["/openapi.json", "/healthz"];
/// Requests of one principal that are under way at once, those who follow events among them.
const REQUESTS_SHARE_MAX: usize = 16;
/// The longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 256;

/// What all requests share.
pub(super) struct Shared {
    pub(super) service: Arc<dyn Service>,
    pub(super) clock: Arc<dyn WallClock>,
    pub(super) tokens: Tokens,
    pub(super) names: Names,
    pub(super) stop: CancellationToken,
    pub(super) shares: Arc<Shares>,
}

/// The names that this edge is called by.
#[derive(Clone, Debug)]
pub(super) struct Names(Vec<String>);

impl Names {
    /// Of loopback, of the address that is listened at, and those that were configured.
    pub(super) fn new(listen: SocketAddr, configured: &[String]) -> Self {
        let own = listen.ip().to_string();
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        names.extend([own].into_iter().chain(configured.iter().map(|name| name.to_lowercase())));
        Self(names)
    }

    /// Whatever the port: a tunnel may end at another one.
    fn has(&self, authority: &str) -> bool {
        let host = match authority.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((host, port)) if port.is_empty() || port.starts_with(':') => host,
                _ => return false,
            },
            None => authority.split_once(':').map_or(authority, |(host, _)| host),
        };
        self.0.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// How many requests of each principal are under way.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<BTreeMap<Principal, usize>>);

/// One of them; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    shares: Arc<Shares>,
    principal: Principal,
}

impl Shares {
    fn take(self: &Arc<Self>, principal: &Principal) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(principal.clone()).or_default();
        if *count >= REQUESTS_SHARE_MAX {
            return None;
        }
        *count += 1;
        Some(Place { shares: Arc::clone(self), principal: principal.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.principal) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.principal);
            }
        }
    }
}

/// Who asks, and his place among those who do.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub(super) principal: Principal,
    /// As it was shown: whoever follows for long is asked again whether it is still good.
    pub(super) token: Arc<zeroize::Zeroizing<String>>,
    pub(super) place: Arc<Place>,
}

/// Lets a request through, or says why not.
pub(super) async fn guard(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let mut response = match admit(&shared, &request) {
        Err(problem) => problem.response(),
        Ok(who) => {
            if let Some(who) = who {
                request.extensions_mut().insert(who);
            }
            next.run(request).await
        }
    };
    for (name, value) in SAID {
        let name = HeaderName::from_static(name);
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Said with every answer: it is nobody else's, no page, and nothing to keep.
const SAID: &[(&str, &str)] = &[
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
];

fn admit(shared: &Shared, request: &Request) -> Result<Option<Who>, Problem> {
    check_host(&shared.names, request.uri(), request.headers())?;
    if OPEN.contains(&request.uri().path()) {
        return Ok(None);
    }
    let token = bearer(request.headers());
    let known = token.and_then(|token| {
        let principal = shared.tokens.find(token, shared.clock.now())?;
        Some((principal, Arc::new(zeroize::Zeroizing::new(token.to_owned()))))
    });
    let Some((principal, token)) = known else {
        let message = "show a token that is good: `Authorization: Bearer …`; `vmm-manager token add NAME --role ROLE` makes one";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, FaultCode::Denied, message));
    };
    let place = shared.shares.take(&principal).ok_or_else(|| {
        let message = format!(
            "{REQUESTS_SHARE_MAX} requests of {principal} are under way; wait for one of them"
        );
        Problem::from(Fault::new(FaultCode::Busy, message))
    })?;
    Ok(Some(Who { principal, token, place: Arc::new(place) }))
}

/// A page of another site can be made to reach this address under a name of its own; not under one of ours.
fn check_host(names: &Names, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    let is_one = |host: Option<&HeaderValue>| {
        host.and_then(|host| host.to_str().ok()).is_some_and(|host| names.has(host))
    };
    let is_ours = is_one(hosts.next())
        && hosts.next().is_none()
        && uri.authority().is_none_or(|authority| names.has(authority.as_str()));
    if is_ours {
        return Ok(());
    }
    let message = "this is not the host that was asked for; call it by its address, or name it under [http] names in manager.toml";
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, FaultCode::Denied, message))
}

/// The token of a request that shows one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let only = all.next().filter(|_| all.next().is_none())?.to_str().ok()?;
    let (scheme, token) = only.split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("Bearer") && token.len() <= TOKEN_BYTES_MAX;
    is_bearer.then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_ours() {
        let names = Names::new("192.0.2.7:8441".parse().unwrap(), &["Pool.Example".into()]);
        for ours in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1:8441",
            "[::1]",
            "[::1]:9",
            "192.0.2.7",
            "pool.example:8441",
        ] {
            assert!(names.has(ours), "{ours}");
        }
        for other in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil",
            "pool.example.",
            "[::1",
            "[::1]x",
            "::1",
            "evil@localhost",
            "127.0.0.2",
        ] {
            assert!(!names.has(other), "{other}");
        }
    }

    #[test]
    fn a_place_is_given_back() {
        let shares = Arc::new(Shares::default());
        let ann = Principal::admin("ann");
        let places: Vec<_> = (0..REQUESTS_SHARE_MAX).map(|_| shares.take(&ann)).collect();
        assert!(places.iter().all(Option::is_some) && shares.take(&ann).is_none());
        assert!(shares.take(&Principal::admin("bob")).is_some());
        drop(places);
        assert!(shares.take(&ann).is_some() && shares.0.lock().unwrap().is_empty());
    }
}
