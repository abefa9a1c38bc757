//! Numbers and names of records.

macro_rules! kinds {
    ($($constant:ident = $number:literal,)*) => {
        $(pub(super) const $constant: u32 = $number;)*

        /// A record's name, as Xen's documents have it; `None` for a number without one.
        #[must_use]
        pub fn name(number: u32) -> Option<&'static str> {
            match number {
                $($constant => Some(stringify!($constant)),)*
                _ => None,
            }
        }
    };
}

kinds! {
    END = 0x00,
    PAGE_DATA = 0x01,
    X86_PV_INFO = 0x02,
    X86_PV_P2M_FRAMES = 0x03,
    X86_PV_VCPU_BASIC = 0x04,
    X86_PV_VCPU_EXTENDED = 0x05,
    X86_PV_VCPU_XSAVE = 0x06,
    SHARED_INFO = 0x07,
    X86_TSC_INFO = 0x08,
    HVM_CONTEXT = 0x09,
    HVM_PARAMS = 0x0a,
    TOOLSTACK = 0x0b,
    X86_PV_VCPU_MSRS = 0x0c,
    VERIFY = 0x0d,
    CHECKPOINT = 0x0e,
    CHECKPOINT_DIRTY_PFN_LIST = 0x0f,
    STATIC_DATA_END = 0x10,
    X86_CPUID_POLICY = 0x11,
    X86_MSR_POLICY = 0x12,
}
