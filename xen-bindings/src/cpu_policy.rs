//! Which processor a guest sees: CPUID leaves and model-specific registers.

/// One CPUID leaf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuidLeaf {
    /// EAX of the question.
    pub leaf: u32,
    /// ECX of the question; all ones where the leaf has no subleaves.
    pub subleaf: u32,
    /// Answer.
    pub eax: u32,
    /// Answer.
    pub ebx: u32,
    /// Answer.
    pub ecx: u32,
    /// Answer.
    pub edx: u32,
}

/// One model-specific register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MsrEntry {
    /// Its number.
    pub index: u32,
    /// What the guest reads there.
    pub value: u64,
}

/// All that a guest was promised of its processor. A destination that has less must refuse it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuPolicy {
    /// In Xen's order.
    pub leaves: Vec<CpuidLeaf>,
    /// In Xen's order.
    pub msrs: Vec<MsrEntry>,
}
