//! Route netlink in one blocking exchange: a request, and all answers up to the acknowledgement.
//!
//! The kernel carries out a request within `send`, so an answer is there at once; the time limit is for a kernel that is broken.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, Stats64,
};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// The longest wait for an answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);
/// The kernel's answers to a dump come in pieces of at most 32 KiB.
const CHUNK_BYTES: usize = 64 << 10;
/// Names are shorter than this (IFNAMSIZ).
const NAME_BYTES_MAX: usize = 16;

/// A socket of this thread's network namespace.
pub(super) struct Route(OwnedFd);

/// A network interface.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) up: bool,
    pub(super) address: Vec<u8>,
    pub(super) mtu: Option<u32>,
    /// The bridge or bond that it is in, by index.
    pub(super) controller: Option<u32>,
    /// What made it; physical interfaces have none, and neither have netback's.
    pub(super) kind: Option<InfoKind>,
    pub(super) layer: Option<LinkLayerType>,
    /// Such as `pci`, or `xen-backend` for a guest's (Linux 5.13 and later say so).
    pub(super) bus: Option<String>,
    pub(super) stats: Stats64,
}

impl Link {
    pub(super) fn is_bridge(&self) -> bool {
        self.kind == Some(InfoKind::Bridge)
    }

    fn read(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            up: message.header.flags.contains(LinkFlags::Up),
            layer: Some(message.header.link_layer_type),
            ..Self::default()
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(address) => link.address = address,
                LinkAttribute::Mtu(mtu) => link.mtu = Some(mtu),
                LinkAttribute::Controller(index) => link.controller = Some(index),
                LinkAttribute::ParentDevBusName(bus) => link.bus = Some(bus),
                LinkAttribute::Stats64(stats) => link.stats = stats,
                LinkAttribute::LinkInfo(infos) => {
                    link.kind = infos.into_iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        link
    }
}

impl Route {
    pub(super) fn open() -> io::Result<Self> {
        // A netlink socket that names no protocol is one of route netlink, whose number is 0.
        let family = AddressFamily::NETLINK;
        let socket = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_WAIT_MAX))?;
        Ok(Self(socket))
    }

    /// One interface by name; `None` when there is none.
    pub(super) fn link(&self, name: &str) -> io::Result<Option<Link>> {
        if name.is_empty() || name.len() >= NAME_BYTES_MAX {
            return Ok(None);
        }
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.into()));
        match self.exchange(RouteNetlinkMessage::GetLink(message), 0) {
            Ok(answers) => Ok(links(answers).next()),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn links(&self) -> io::Result<Vec<Link>> {
        let all = RouteNetlinkMessage::GetLink(LinkMessage::default());
        Ok(links(self.exchange(all, NLM_F_DUMP)?).collect())
    }

    /// Brings an interface up or down, and changes what the attributes say in the same step.
    pub(super) fn set(
        &self,
        index: u32,
        up: bool,
        attributes: Vec<LinkAttribute>,
    ) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        message.attributes = attributes;
        self.exchange(RouteNetlinkMessage::SetLink(message), NLM_F_ACK).map(drop)
    }

    /// Takes all addresses from an interface.
    pub(super) fn flush_addresses(&self, index: u32) -> io::Result<()> {
        let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        for answer in self.exchange(all, NLM_F_DUMP)? {
            let RouteNetlinkMessage::NewAddress(address) = answer else { continue };
            if address.header.index == index {
                self.exchange(RouteNetlinkMessage::DelAddress(address), NLM_F_ACK)?;
            }
        }
        Ok(())
    }

    /// With neither an acknowledgement nor a dump asked for, the first answer is all.
    pub(super) fn exchange(
        &self,
        request: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut message = NetlinkMessage::from(request);
        message.header.flags = NLM_F_REQUEST | flags;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        send(&self.0, &bytes, SendFlags::empty())?;
        let one = flags & (NLM_F_ACK | NLM_F_DUMP) == 0;
        let (mut chunk, mut answers) = (vec![0; CHUNK_BYTES], Vec::new());
        loop {
            let (_, length) = recv(&self.0, &mut chunk[..], RecvFlags::TRUNC)?;
            let mut rest = chunk.get(..length).ok_or_else(|| invalid("an answer is too long"))?;
            while !rest.is_empty() {
                let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|error| invalid(&error.to_string()))?;
                rest = after(rest, answer.header.length)?;
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(error.to_io());
                    }
                    NetlinkPayload::Done(_) | NetlinkPayload::Error(_) => return Ok(answers),
                    NetlinkPayload::Overrun(_) => return Err(invalid("answers were lost")),
                    _ => {}
                }
                if one && !answers.is_empty() {
                    return Ok(answers);
                }
            }
        }
    }
}

fn links(answers: Vec<RouteNetlinkMessage>) -> impl Iterator<Item = Link> {
    answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(message) => Some(Link::read(message)),
        _ => None,
    })
}

/// What follows a message of this length, which is padded to whole words.
fn after(bytes: &[u8], length: u32) -> io::Result<&[u8]> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length == 0 {
        return Err(invalid("an answer has no length"));
    }
    Ok(bytes.get(length.next_multiple_of(4)..).unwrap_or_default())
}

fn invalid(detail: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("netlink: {detail}"))
}
