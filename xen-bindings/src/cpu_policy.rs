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

/// Where a word of Xen's feature sets stands: leaf, subleaf and register.
type Word = (u32, u32, fn(&CpuidLeaf) -> u32);

const WORDS: [Word; 14] = [
    (1, NO_SUBLEAF, |leaf| leaf.edx),
    (1, NO_SUBLEAF, |leaf| leaf.ecx),
    (0x8000_0001, NO_SUBLEAF, |leaf| leaf.edx),
    (0x8000_0001, NO_SUBLEAF, |leaf| leaf.ecx),
    (0xd, 1, |leaf| leaf.eax),
    (7, 0, |leaf| leaf.ebx),
    (7, 0, |leaf| leaf.ecx),
    (0x8000_0007, NO_SUBLEAF, |leaf| leaf.edx),
    (0x8000_0008, NO_SUBLEAF, |leaf| leaf.ebx),
    (7, 0, |leaf| leaf.edx),
    (7, 1, |leaf| leaf.eax),
    (0x8000_0021, NO_SUBLEAF, |leaf| leaf.eax),
    (7, 1, |leaf| leaf.ebx),
    (7, 2, |leaf| leaf.edx),
];
/// Of a leaf that has none.
const NO_SUBLEAF: u32 = u32::MAX;

/// Bits that promise nothing, by word: how processors are numbered (HTT, X2APIC, CMP_LEGACY), what a guest's kernel switched on (OSXSAVE, OSPKE), that there is
/// a hypervisor, two that say what is missing (FDP_EXCP_ONLY, NO_FPU_SEL), and those that AMD tells a second time, which Xen's own policies leave out.
const NO_PROMISE: [(usize, u32); 6] = [
    (0, 1 << 28),
    (1, 1 << 21 | 1 << 27 | 1 << 31),
    (2, 0x0183_f3ff),
    (3, 1 << 1),
    (5, 1 << 6 | 1 << 13),
    (6, 1 << 4),
];

impl CpuPolicy {
    /// What it promises, as the words of Xen's feature sets; those at the end that are 0 are left out. A guest may use each bit, and breaks on a processor
    /// that has it not: Xen 4.17 restores the guest there all the same.
    #[must_use]
    pub fn features(&self) -> Vec<u32> {
        let find = |leaf, subleaf| {
            self.leaves.iter().find(|found| (found.leaf, found.subleaf) == (leaf, subleaf))
        };
        let word = |(leaf, subleaf, register): &Word| find(*leaf, *subleaf).map_or(0, register);
        let mut words: Vec<u32> = WORDS.iter().map(word).collect();
        for (word, bits) in NO_PROMISE {
            words[word] &= !bits;
        }
        let used = words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        words.truncate(used);
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_words_in_xens_order_without_those_that_promise_nothing() {
        let leaf = |leaf, subleaf| CpuidLeaf { leaf, subleaf, ..CpuidLeaf::default() };
        let leaves = vec![
            CpuidLeaf { ecx: 1 << 20 | 1 << 27 | 1 << 31, edx: 1 | 1 << 28, ..leaf(1, NO_SUBLEAF) },
            CpuidLeaf { ebx: 1 << 5 | 1 << 13, edx: 1 << 4, ..leaf(7, 0) },
            CpuidLeaf { edx: 1 << 29 | 1, ..leaf(0x8000_0001, NO_SUBLEAF) },
            CpuidLeaf { eax: 1 << 6, ..leaf(0x8000_0021, NO_SUBLEAF) },
        ];
        let policy = CpuPolicy { leaves, msrs: Vec::new() };
        let expected = [1, 1 << 20, 1 << 29, 0, 0, 1 << 5, 0, 0, 0, 1 << 4, 0, 1 << 6];
        assert_eq!(policy.features(), expected);
        assert!(CpuPolicy::default().features().is_empty());
    }
}
