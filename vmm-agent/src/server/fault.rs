//! Failed changes as faults.

use vmm_proto::v1::{Fault, FaultCode};

use crate::domain::{ChangeError, Remedy};

impl From<ChangeError> for Fault {
    fn from(error: ChangeError) -> Self {
        let text = error.to_string();
        match error {
            ChangeError::Denied(denied) => denied.into(),
            ChangeError::Busy | ChangeError::Stopping => Fault::new(FaultCode::Busy, text),
            ChangeError::Superseded(_) => Fault::new(FaultCode::Cancelled, text),
            ChangeError::OutOfMemory { .. } | ChangeError::NoRoom(_) => {
                Fault::new(FaultCode::OutOfMemory, text)
            }
            ChangeError::Conflict(_) => Fault::new(FaultCode::Conflict, text),
            ChangeError::BadRequest(_) => Fault::new(FaultCode::BadRequest, text),
            ChangeError::TimedOut(_) => Fault::new(FaultCode::TimedOut, text),
            ChangeError::Stopped(_) => Fault::new(FaultCode::BadState, text),
            ChangeError::LeftOver(_) => Fault::new(FaultCode::HostFailed, text),
            ChangeError::Step { source, .. } if source.is_cancel() || source.is_discard() => {
                Fault::new(FaultCode::Cancelled, text)
            }
            ChangeError::Step { source, .. } => {
                let (code, advice) = match source.remedy() {
                    Remedy::NameAnotherFile => {
                        (FaultCode::FileNotFound, "put the file on this host, or name another one")
                    }
                    Remedy::UseAnotherImage => {
                        (FaultCode::BadImage, "name a Linux kernel that Xen can boot as PVH")
                    }
                    Remedy::StopTheOther => (FaultCode::Conflict, "or use a copy of the image"),
                    Remedy::NameAFreePath => {
                        (FaultCode::Conflict, "nothing is overwritten: name another path")
                    }
                    Remedy::UseAnotherFile => {
                        (FaultCode::BadImage, "the VM stays saved; restore it from a good file")
                    }
                    Remedy::LookAtTheGuest => (FaultCode::TimedOut, "its console may say why"),
                    Remedy::FreeMemory => {
                        (FaultCode::OutOfMemory, "free memory, or use another host")
                    }
                    Remedy::None => (FaultCode::HostFailed, "look at the agent's log on the host"),
                };
                Fault::new(code, format!("{text}; {advice}"))
            }
        }
    }
}
