//! The store's traits on the machine.

use std::sync::Arc;

use super::request::{Answer, Request};
use crate::domid::DomId;
use crate::evtchn::Port;
use crate::frame::Gfn;
use crate::sim::handle::Handle;
use crate::sim::machine::{Inner, State};
use crate::sim::ops::Op;
use crate::store::{
    Permissions, Store, StoreError, StoreOps, StorePath, StoreTransaction, WatchHandle, WatchSink,
};

fn odd<T>(_: Answer) -> Result<T, StoreError> {
    Err(StoreError::Other("an answer to another question".into()))
}

/// The operations of [`StoreOps`] are the same inside and outside of a transaction but for who carries out the request.
macro_rules! store_ops {
    ($type:ty) => {
        impl StoreOps for $type {
            fn read(&self, path: &StorePath) -> Result<Vec<u8>, StoreError> {
                match self.request(Op::StoreRead, Request::Read { path: text(path) })? {
                    Answer::Value(value) => Ok(value),
                    other => odd(other),
                }
            }

            fn write(&self, path: &StorePath, value: &[u8]) -> Result<(), StoreError> {
                let request = Request::Write { path: text(path), value: value.to_vec() };
                self.request(Op::StoreWrite, request).map(|_| ())
            }

            fn directory(&self, path: &StorePath) -> Result<Vec<String>, StoreError> {
                match self.request(Op::StoreDirectory, Request::Directory { path: text(path) })? {
                    Answer::Names(names) => Ok(names),
                    other => odd(other),
                }
            }

            fn remove(&self, path: &StorePath) -> Result<(), StoreError> {
                self.request(Op::StoreRemove, Request::Remove { path: text(path) }).map(|_| ())
            }

            fn make_dir(&self, path: &StorePath) -> Result<(), StoreError> {
                self.request(Op::StoreMakeDir, Request::MakeDir { path: text(path) }).map(|_| ())
            }

            fn permissions(&self, path: &StorePath) -> Result<Permissions, StoreError> {
                let request = Request::Permissions { path: text(path) };
                match self.request(Op::StorePermissions, request)? {
                    Answer::Permissions(permissions) => Ok(permissions),
                    other => odd(other),
                }
            }

            fn set_permissions(
                &self,
                path: &StorePath,
                permissions: &Permissions,
            ) -> Result<(), StoreError> {
                let permissions = permissions.clone();
                let request = Request::SetPermissions { path: text(path), permissions };
                self.request(Op::StoreSetPermissions, request).map(|_| ())
            }
        }
    };
}

fn text(path: &StorePath) -> String {
    path.as_str().to_owned()
}

impl Handle {
    fn request(&self, op: Op, request: Request) -> Result<Answer, StoreError> {
        let path = request.path().to_owned();
        self.store(op, &path, |state| state.store.ask(DomId::DOM0, &request))
    }
}

store_ops!(Handle);
store_ops!(SimTransaction<'_>);

struct SimTransaction<'a> {
    handle: &'a Handle,
    id: u64,
}

impl SimTransaction<'_> {
    fn request(&self, op: Op, request: Request) -> Result<Answer, StoreError> {
        let path = request.path().to_owned();
        self.handle.store(op, &path, |state| state.store.ask_in(self.id, request))
    }
}

impl StoreTransaction for SimTransaction<'_> {
    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.handle.store(Op::StoreCommit, "", |state| state.store.commit(self.id))
    }
}

impl Drop for SimTransaction<'_> {
    fn drop(&mut self) {
        // After a commit there is nothing left to abort.
        let (id, epoch) = (self.id, self.handle.epoch);
        self.handle.inner.with(|state| {
            if state.epoch == epoch {
                state.store.abort(id);
            }
        });
    }
}

struct WatchGuard {
    inner: Arc<Inner>,
    epoch: u64,
    id: u64,
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        // The sink is dropped outside of the lock: it may hold anything.
        drop(self.inner.with(|state| {
            (state.epoch == self.epoch).then(|| state.store.unwatch(self.id)).flatten()
        }));
    }
}

impl Store for Handle {
    fn begin(&self) -> Result<Box<dyn StoreTransaction + '_>, StoreError> {
        let id = self.store(Op::StoreBegin, "", |state| state.store.begin())?;
        Ok(Box::new(SimTransaction { handle: self, id }))
    }

    fn watch(&self, path: &str, sink: WatchSink) -> Result<WatchHandle, StoreError> {
        if !matches!(path, "@introduceDomain" | "@releaseDomain") {
            StorePath::new(path)?;
        }
        let id = self.store(Op::StoreWatch, path, |state| Ok(state.store.watch(path, sink)))?;
        let inner = Arc::clone(&self.inner);
        Ok(WatchHandle::new(WatchGuard { inner, epoch: self.epoch, id }))
    }

    fn introduce(&self, domid: DomId, _ring: Gfn, port: Port) -> Result<(), StoreError> {
        self.store(Op::StoreIntroduce, "", |state| introduce(state, domid, port))
    }

    fn release(&self, domid: DomId) -> Result<(), StoreError> {
        self.store(Op::StoreRelease, "", |state| state.store.release(domid))
    }

    fn resume(&self, domid: DomId) -> Result<(), StoreError> {
        self.store(Op::StoreResume, "", |state| state.store.resume(domid))
    }

    fn is_introduced(&self, domid: DomId) -> Result<bool, StoreError> {
        self.store(Op::StoreIsIntroduced, "", |state| Ok(state.store.is_introduced(domid)))
    }
}

/// The daemon maps the ring through the guest's grant table and binds the port; both must be there.
fn introduce(state: &mut State, domid: DomId, port: Port) -> Result<(), StoreError> {
    let refused = |why: &str| StoreError::Invalid(format!("domain {domid}: {why}"));
    let domain = state.hypervisor.get(domid).map_err(|_| refused("does not exist"))?;
    if !domain.built || domain.dying {
        return Err(refused("has no ring"));
    }
    if !domain.ports.contains(&port.0) {
        return Err(refused("has no such port"));
    }
    state.store.introduce(domid);
    state.introduced(domid.get());
    Ok(())
}
