//! The machine.

use std::ffi::{CStr, c_int, c_void};
use std::ptr::null_mut;

use xenctrl_sys as xc;

use super::Libxc;
use crate::error::{XenError, XenErrorKind};
use crate::frame::PageCount;
use crate::host::{HostInfo, PcpuTime, Physinfo, XenVersion};

const OP_VERSION: &str = "xen_version";
const OP_CPUINFO: &str = "getcpuinfo";
/// Xen's default ring is 16 KiB, and grows with the number of CPUs.
const CONSOLE_RING_BYTES_MAX: usize = 256 * 1024;
/// `xen_extraversion_t`.
const EXTRAVERSION_BYTES: usize = 16;
/// `xen_capabilities_info_t`.
const CAPABILITIES_BYTES: usize = 1024;

impl HostInfo for Libxc {
    fn physinfo(&self) -> Result<Physinfo, XenError> {
        let raw = self.raw_physinfo()?;
        Ok(Physinfo {
            pcpus: raw.nr_cpus,
            nodes: raw.nr_nodes,
            cpu_khz: raw.cpu_khz,
            memory_total_kib: PageCount(raw.total_pages).kib(),
            memory_free_kib: PageCount(raw.free_pages).kib(),
            memory_scrub_kib: PageCount(raw.scrub_pages).kib(),
            memory_claimed_kib: PageCount(raw.outstanding_pages).kib(),
            hvm: raw.capabilities & xc::XEN_SYSCTL_PHYSCAP_hvm != 0,
            hap: raw.capabilities & xc::XEN_SYSCTL_PHYSCAP_hap != 0,
            shadow: raw.capabilities & xc::XEN_SYSCTL_PHYSCAP_shadow != 0,
        })
    }

    fn pcpu_times(&self) -> Result<Vec<PcpuTime>, XenError> {
        let count_max = self.raw_physinfo()?.max_cpu_id.saturating_add(1);
        let room = c_int::try_from(count_max).map_err(|_| too_many_cpus())?;
        let length = usize::try_from(count_max).map_err(|_| too_many_cpus())?;
        let mut times = vec![xc::xc_cpuinfo_t::default(); length];
        let mut count = 0;
        self.call(OP_CPUINFO, |xch| {
            // SAFETY: the vector has `room` entries; both out-parameters live through the call.
            unsafe { xc::xc_getcpuinfo(xch, room, times.as_mut_ptr(), &raw mut count) }
        })?;
        times.truncate(usize::try_from(count).unwrap_or(0));
        Ok(times.iter().map(|time| PcpuTime { idle_ns: time.idletime }).collect())
    }

    fn version(&self) -> Result<XenVersion, XenError> {
        let number = self.call(OP_VERSION, |xch| {
            // SAFETY: this question has no argument.
            unsafe { xc::xc_version(xch, command(xc::XENVER_version), null_mut()) }
        })?;
        let number = number.cast_unsigned();
        Ok(XenVersion {
            major: number >> 16,
            minor: number & 0xffff,
            extra: self.version_text::<EXTRAVERSION_BYTES>(xc::XENVER_extraversion)?,
            capabilities: self.version_text::<CAPABILITIES_BYTES>(xc::XENVER_capabilities)?,
        })
    }
}

impl Libxc {
    /// The hypervisor's console ring; it keeps what came last.
    pub(super) fn console_ring(&self) -> Result<String, XenError> {
        let mut buffer = vec![0_u8; CONSOLE_RING_BYTES_MAX];
        let mut length = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let (clear, incremental) = (0, 0);
        self.call("readconsolering", |xch| {
            let (text, length) = (buffer.as_mut_ptr().cast(), &raw mut length);
            // SAFETY: the buffer has `length` bytes; no index means from the start.
            unsafe { xc::xc_readconsolering(xch, text, length, clear, incremental, null_mut()) }
        })?;
        buffer.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(String::from_utf8_lossy(&buffer).into_owned())
    }

    fn raw_physinfo(&self) -> Result<xc::xc_physinfo_t, XenError> {
        let mut raw = xc::xc_physinfo_t::default();
        self.call("physinfo", |xch| {
            // SAFETY: the out-parameter lives through the call.
            unsafe { xc::xc_physinfo(xch, &raw mut raw) }
        })?;
        Ok(raw)
    }

    /// A text of `BYTES` bytes; the number must be the one of Xen's ABI for this question.
    fn version_text<const BYTES: usize>(&self, question: u32) -> Result<String, XenError> {
        let mut buffer = [0_u8; BYTES];
        let argument: *mut c_void = buffer.as_mut_ptr().cast();
        self.call(OP_VERSION, |xch| {
            // SAFETY: the buffer has the size that Xen's ABI fixes for this question.
            unsafe { xc::xc_version(xch, command(question), argument) }
        })?;
        let text = CStr::from_bytes_until_nul(&buffer).map_err(|_| {
            XenError::new(OP_VERSION, XenErrorKind::Other(0)).detail("a text without an end")
        })?;
        Ok(text.to_string_lossy().trim_end().to_owned())
    }
}

fn command(question: u32) -> c_int {
    question.cast_signed()
}

fn too_many_cpus() -> XenError {
    XenError::new(OP_CPUINFO, XenErrorKind::Other(0)).detail("more CPUs than fit an int")
}
