//! Enrolment by token, and renewal of a certificate, over the whole wire.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rustls::pki_types::CertificateDer;
use support::{Pool, Running, SERVER, TODAY, ping, pong};
use vmm_proto::client::{CallError, CallOptions, Client, ClientOptions};
use vmm_proto::credentials::{
    CertificateAuthority, Credentials, LiveCredentials, NewKeys, SigningRequest, lifetime,
};
use vmm_proto::enrolment::{Application, Invitation, JoinError, JoinToken, Registrar, join};
use vmm_proto::principal::{Principal, Role};
use vmm_proto::v1::{
    self, Fault, FaultCode, InstallCertificate, PrepareKeys, Reply, Request, ShowCertificate,
};

/// Signs for the first keys that come with a token.
struct Office {
    authority: CertificateAuthority,
    invitations: Mutex<HashMap<String, Invitation>>,
    used: Mutex<HashMap<String, [u8; 32]>>,
    admitted: AtomicUsize,
    denies: AtomicBool,
}

impl Registrar for Office {
    fn invitation(&self, token: &str) -> Option<Invitation> {
        self.invitations.lock().unwrap().get(token).cloned()
    }

    fn admit(
        &self,
        application: Application,
    ) -> BoxFuture<'_, Result<CertificateDer<'static>, Fault>> {
        async move {
            let Application { token, principal, request, .. } = application;
            let first = *self.used.lock().unwrap().entry(token).or_insert(request.inner_key);
            if first != request.inner_key {
                return Err(Fault::new(FaultCode::Denied, "used by somebody else"));
            }
            if self.denies.load(Ordering::SeqCst) {
                return Err(Fault::new(FaultCode::Conflict, "not now"));
            }
            self.admitted.fetch_add(1, Ordering::SeqCst);
            Ok(self.authority.sign(&request, &principal, TODAY).unwrap())
        }
        .boxed()
    }
}

struct Town {
    pool: Pool,
    office: Arc<Office>,
    _server: Running,
}

impl Town {
    fn new() -> Town {
        Town::served_by(&Principal::manager("manager"))
    }

    fn served_by(principal: &Principal) -> Town {
        let pool = Pool::new();
        let directory = tempfile::tempdir().unwrap();
        pool.authority.save(directory.path()).unwrap();
        let office = Arc::new(Office {
            authority: CertificateAuthority::load(directory.path()).unwrap(),
            invitations: Mutex::default(),
            used: Mutex::default(),
            admitted: AtomicUsize::new(0),
            denies: AtomicBool::new(false),
        });
        let mut options = pool.options();
        options.registrar = Some(office.clone());
        let server = pool.serve(pool.issue(principal), options);
        Town { pool, office, _server: server }
    }

    fn invite(&self, principal: Principal) -> JoinToken {
        let token = JoinToken::generate(self.office.authority.certificate()).unwrap();
        let invitation = Invitation { principal, psk: token.psk() };
        self.office.invitations.lock().unwrap().insert(token.id().to_owned(), invitation);
        token
    }

    async fn join(&self, token: &JoinToken, directory: &Path) -> Result<Credentials, JoinError> {
        let connector = self.pool.network.connector(SERVER);
        join(&connector, token, directory, Some("h1:1"), self.pool.clock.clone()).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_makes_credentials_that_work() {
    let (town, directory) = (Town::new(), tempfile::tempdir().unwrap());
    let path = directory.path().join("own");
    let token = town.invite(Principal::admin("ann")).to_string().parse().unwrap();
    town.join(&token, &path).await.unwrap();
    let own = Credentials::load(&path).unwrap();
    assert_eq!(own.principal(), &Principal::admin("ann"));
    assert!(!path.join("joining").exists());
    let client = Client::new(
        own,
        Principal::manager("manager"),
        Arc::new(town.pool.network.connector(SERVER)),
        ClientOptions::new(town.pool.clock.clone()),
    );
    let reply = client.call(ping("hello"), CallOptions::default()).await.unwrap();
    assert_eq!(reply, pong("hello"));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_good_for_one_applicant_and_again_when_the_answer_was_lost() {
    let town = Town::new();
    let [first, second] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let token = town.invite(Principal::agent("h2"));
    town.office.denies.store(true, Ordering::SeqCst);
    let denied = town.join(&token, first.path()).await.unwrap_err();
    assert!(matches!(denied, JoinError::Fault(fault) if fault.code == FaultCode::Conflict));
    assert!(first.path().join("joining").exists(), "its keys wait");
    town.office.denies.store(false, Ordering::SeqCst);
    let thief = town.join(&token, second.path()).await.unwrap_err();
    assert!(matches!(thief, JoinError::Fault(fault) if fault.code == FaultCode::Denied));
    town.join(&token, first.path()).await.unwrap();
    assert_eq!(town.office.admitted.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_admitted_without_the_secret() {
    let (town, directory) = (Town::new(), tempfile::tempdir().unwrap());
    let (good, other) = (town.invite(Principal::agent("h2")), town.invite(Principal::agent("h3")));
    let good = good.to_string();
    let parts: Vec<&str> = good.split('.').collect();
    let wrong_secret = good.replace(parts[2], other.to_string().split('.').nth(2).unwrap());
    let unknown = good.replace(parts[1], "0011223344556677");
    for token in [wrong_secret, unknown] {
        let error = town.join(&token.parse().unwrap(), directory.path()).await.unwrap_err();
        assert!(matches!(error, JoinError::Refused), "{error}");
    }
    assert_eq!(town.office.admitted.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn an_applicant_speaks_with_a_manager_of_its_tokens_pool_only() {
    let directory = tempfile::tempdir().unwrap();
    let (town, foreign) = (Town::new(), CertificateAuthority::create(TODAY).unwrap());
    let token = JoinToken::generate(foreign.certificate()).unwrap();
    let error = town.join(&token, directory.path()).await.unwrap_err().to_string();
    assert!(error.contains("of another pool than the token"), "{error}");
    // A host of the pool that answers in the manager's place.
    let town = Town::served_by(&Principal::agent(SERVER));
    let token = town.invite(Principal::admin("ann"));
    let error = town.join(&token, directory.path()).await.unwrap_err().to_string();
    assert!(error.contains("xvmp://smps-vmm/agent/h1 answered"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_without_a_registrar_admits_nobody() {
    let (pool, directory) = (Pool::new(), tempfile::tempdir().unwrap());
    let _server = pool.serve_as(&Principal::manager("manager"));
    let token = JoinToken::generate(pool.authority.certificate()).unwrap();
    let connector = pool.network.connector(SERVER);
    let joined = join(&connector, &token, directory.path(), None, pool.clock.clone()).await;
    let error = joined.unwrap_err().to_string();
    assert!(error.contains("404"), "{error}");
}

#[test]
fn a_text_that_is_no_token_is_refused_and_one_that_is_comes_back() {
    let authority = CertificateAuthority::create(TODAY).unwrap();
    let token = JoinToken::generate(authority.certificate()).unwrap();
    let text = token.to_string();
    assert_eq!(text.parse::<JoinToken>().unwrap().to_string(), text);
    assert_eq!(format!(" {text}\n").parse::<JoinToken>().unwrap().psk(), token.psk());
    assert!(!format!("{token:?}").contains(text.split('.').nth(2).unwrap()));
    for end in 0..text.len() {
        assert!(text[..end].parse::<JoinToken>().is_err(), "{}", &text[..end]);
    }
    assert!(format!("{text}.x").parse::<JoinToken>().is_err());
    assert!(text.replace("xvmpj1", "xvmpj2").parse::<JoinToken>().is_err());
}

async fn ask(client: &Client, request: Request) -> Result<Reply, CallError> {
    let options = CallOptions { idempotency_key: Some("k".to_owned()), ..CallOptions::default() };
    client.call(request, options).await
}

async fn ask_for_keys(client: &Client) -> SigningRequest {
    let reply = ask(client, Request::PrepareKeys(PrepareKeys {})).await.unwrap();
    let Reply::SigningRequest(v1::SigningRequest { signing_request }) = reply else {
        panic!("{reply:?}")
    };
    SigningRequest::parse(&STANDARD.decode(signing_request).unwrap()).unwrap()
}

fn install(certificate: &[u8]) -> Request {
    Request::InstallCertificate(InstallCertificate { certificate: STANDARD.encode(certificate) })
}

fn refused(outcome: Result<Reply, CallError>, code: FaultCode) {
    match outcome {
        Err(CallError::Fault(fault)) => assert_eq!(fault.code, code, "{fault}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_manager_renews_the_certificate_of_an_agent_that_runs() {
    let (pool, directory) = (Pool::new(), tempfile::tempdir().unwrap());
    let h1 = Principal::agent(SERVER);
    pool.issue(&h1).save(directory.path()).unwrap();
    let live = LiveCredentials::load(directory.path()).unwrap();
    let _server = pool.serve(live.clone(), pool.options());
    let manager = pool.client(pool.issue(&Principal::manager("m")));
    let shown = ask(&manager, Request::ShowCertificate(ShowCertificate {})).await.unwrap();
    let Reply::Certificate(shown) = shown else { panic!("{shown:?}") };
    assert_eq!(STANDARD.decode(shown.certificate).unwrap(), live.current().certificate());
    // A manager whose clock is far ahead would lock the host out.
    let request = ask_for_keys(&manager).await;
    let tomorrow = TODAY + Duration::from_secs(86_400);
    let signed = pool.authority.sign(&request, &h1, tomorrow).unwrap();
    refused(ask(&manager, install(&signed)).await, FaultCode::BadRequest);
    let later = TODAY + Duration::from_secs(200);
    let request = ask_for_keys(&manager).await;
    let signed = pool.authority.sign(&request, &h1, later).unwrap();
    ask(&manager, install(&signed)).await.unwrap();
    assert_eq!(live.current().not_after(), later + lifetime(Role::Agent));
    assert_eq!(Credentials::load(directory.path()).unwrap().certificate(), &signed[..]);
    // The old connection goes on, and a new one sees the new certificate.
    assert_eq!(ask(&manager, ping("old")).await.unwrap(), pong("old"));
    let anew = pool.client(pool.issue(&Principal::manager("m")));
    assert_eq!(ask(&anew, ping("new")).await.unwrap(), pong("new"));
    refused(ask(&manager, install(&signed)).await, FaultCode::BadState);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_not_the_servers_is_not_installed() {
    let pool = Pool::new();
    let h1 = Principal::agent(SERVER);
    let live = LiveCredentials::from(pool.issue(&h1));
    let _server = pool.serve(live.clone(), pool.options());
    let manager = pool.client(pool.issue(&Principal::manager("m")));
    let old = live.current();
    let foreign = CertificateAuthority::create(TODAY).unwrap();
    let others = NewKeys::generate().unwrap().signing_request().unwrap();
    let others = SigningRequest::parse(&others).unwrap();
    let h2 = Principal::agent("h2");
    for (authority, principal, other_keys) in
        [(&pool.authority, &h2, false), (&foreign, &h1, false), (&pool.authority, &h1, true)]
    {
        let own = ask_for_keys(&manager).await;
        let request = if other_keys { &others } else { &own };
        let signed = authority.sign(request, principal, TODAY).unwrap();
        refused(ask(&manager, install(&signed)).await, FaultCode::BadRequest);
        assert_eq!(live.current().certificate(), old.certificate());
    }
    let user = pool.client(pool.issue(&Principal::admin("ann")));
    for request in [Request::ShowCertificate(ShowCertificate {}), install(old.certificate())] {
        refused(ask(&user, request).await, FaultCode::Denied);
    }
}
