//! What stands inside the encryption of somebody who holds its keys: one verb, or a fault.

use std::sync::atomic::Ordering;

use vmm_proto::principal::Principal;

use crate::peer::{Peer, inner};
use crate::support::{Pool, SERVER};

#[tokio::test(start_paused = true)]
async fn a_request_is_one_verb_and_nothing_beside_it() {
    let pool = Pool::new();
    let _server = pool.serve_as(&Principal::agent(SERVER));
    let peer = Peer::new(&pool, &Principal::manager("m"));
    let link = peer.link(&pool).await;
    let session = peer.session(&link).await;
    for (what, element) in [
        ("nothing", ""),
        ("text", "Ping"),
        ("two verbs", "<Ping text=\"x\"/><Ping text=\"y\"/>"),
        ("two different verbs", "<ListVms/><DestroyVm vm=\"x\"/>"),
        ("a verb that is none", "<Destroy vm=\"x\"/>"),
        ("a reply", "<Pong text=\"x\"/>"),
        ("an attribute more", "<Ping text=\"x\" more=\"y\"/>"),
        ("an attribute less", "<Ping/>"),
        ("an attribute as an element", "<Ping><text>x</text></Ping>"),
        ("an element more", "<Ping text=\"x\"><More/></Ping>"),
        ("a request in a request", "<Request><Ping text=\"x\"/></Request>"),
        ("no namespace", "<Ping xmlns=\"\" text=\"x\"/>"),
        ("another namespace", "<a:Ping xmlns:a=\"urn:a\" text=\"x\"/>"),
        ("an attribute with a prefix", "<Ping xmlns:a=\"urn:a\" text=\"x\" a:more=\"y\"/>"),
        ("a comment", "<Ping text=\"x\"/><!-- -->"),
        ("an entity", "<Ping text=\"&e;\"/>"),
        ("text beside", "<Ping text=\"x\"/>DestroyVm"),
        ("text inside", "<Ping text=\"x\">DestroyVm</Ping>"),
        ("text before", "DestroyVm<Ping text=\"x\"/>"),
    ] {
        let answer = link.rpc(session.request(element)).await;
        let answer = session.open(&answer.body).unwrap();
        assert!(answer.contains("<Fault code="), "{what}: {answer}");
    }
    for more in [" more=\"1\"", " idem=\"\"", " deadline-ms=\"+1\"", " deadline-ms=\"1e3\""] {
        let header = session.header();
        let message = session.seal(&header, &inner(&header, more, "<Ping text=\"x\"/>"));
        let answer = session.open(&link.rpc(message).await.body).unwrap();
        assert!(answer.contains("<Fault code=\"BadRequest\""), "{more}: {answer}");
    }
    assert_eq!(pool.service.calls.load(Ordering::SeqCst), 0);
}
