//! What a processor can do, as Xen counts it: the words of its feature sets. A guest that was promised a feature breaks where it is missing.
//!
//! Written as hexadecimal words with a dash between them, the first word first: `178bfbff-80202001`. What cannot be read as that is an error.

use std::fmt;
use std::str::FromStr;

/// More words than any Xen has.
const WORDS_MAX: usize = 64;

/// Features of a processor, as the bits of Xen's feature sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features(pub Vec<u32>);

/// No list of features.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no list of features: give hexadecimal words of 32 bits with - between them")]
pub struct BadFeatures(String);

impl Features {
    /// Bits of `needed` that are not here.
    #[must_use]
    pub fn missing(&self, needed: &Self) -> Vec<usize> {
        let bit = |(word, bits): (usize, &u32)| {
            let lacking = bits & !self.0.get(word).copied().unwrap_or(0);
            (0..32).filter(move |bit| lacking & (1 << bit) != 0).map(move |bit| word * 32 + bit)
        };
        needed.0.iter().enumerate().flat_map(bit).collect()
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = self.0.iter();
        let Some(first) = words.next() else { return f.write_str("0") };
        write!(f, "{first:x}")?;
        words.try_for_each(|word| write!(f, "-{word:x}"))
    }
}

impl FromStr for Features {
    type Err = BadFeatures;

    fn from_str(text: &str) -> Result<Self, BadFeatures> {
        let bad = || BadFeatures(text.chars().take(80).collect());
        let word = |word: &str| match word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => u32::from_str_radix(word, 16).map_err(|_| bad()),
            false => Err(bad()),
        };
        let words: Vec<u32> =
            text.split('-').take(WORDS_MAX + 1).map(word).collect::<Result<_, _>>()?;
        if words.len() > WORDS_MAX { Err(bad()) } else { Ok(Self(words)) }
    }
}

/// Features by name, for people: the first few, and how many more.
#[must_use]
pub fn in_words(bits: &[usize]) -> String {
    const SHOWN: usize = 4;
    let mut shown: Vec<String> = bits.iter().take(SHOWN).map(|bit| named(*bit)).collect();
    if bits.len() > SHOWN {
        shown.push(format!("{} more", bits.len() - SHOWN));
    }
    shown.join(", ")
}

fn named(bit: usize) -> String {
    let names = NAMES.get(bit / 32).copied().unwrap_or_default();
    match names.split(' ').nth(bit % 32) {
        Some(name) if !matches!(name, "" | "-") => name.to_owned(),
        _ => format!("bit {bit}"),
    }
}

/// By word and bit, as Xen calls them.
const NAMES: [&str; 14] = [
    "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 - clflush - ds acpi mmx fxsr sse sse2 ss htt tm1 - pbe",
    "sse3 pclmulqdq dtes64 monitor dscpl vmx smx eist tm2 ssse3 - - fma cx16 xtpr pdcm - pcid dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline aesni xsave osxsave avx f16c rdrand hypervisor",
    "- - - - - - - - - - - syscall - - - - - - - - nx - mmxext - - ffxsr page1gb rdtscp - lm 3dnowext 3dnow",
    "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt - lwp fma4 - - nodeid_msr - tbm topoext - - - dbext - - monitorx",
    "xsaveopt xsavec xgetbv1 xsaves",
    "fsgsbase tsc_adjust sgx bmi1 hle avx2 fdp_excp_only smep bmi2 erms invpcid rtm pqm no_fpu_sel mpx pqe avx512f avx512dq rdseed adx smap avx512_ifma - clflushopt clwb proc_trace avx512pf avx512er avx512cd sha avx512bw avx512vl",
    "prefetchwt1 avx512_vbmi umip pku ospke - avx512_vbmi2 cet_ss gfni vaes vpclmulqdq avx512_vnni avx512_bitalg - avx512_vpopcntdq - - - - - - - rdpid - - cldemote - movdiri movdir64b enqcmd",
    "- - - - - - - hw_pstate itsc cpb efro",
    "clzero - rstr_fp_err_ptrs - - - - - - wbnoinvd - - ibpb - ibrs amd_stibp ibrs_always stibp_always ibrs_fast ibrs_same_mode no_lmsl - - amd_ppin amd_ssbd virt_ssbd ssb_no - psfd btc_no",
    "- - avx512_4vnniw avx512_4fmaps fsrm - - - avx512_vp2intersect srbds_ctrl md_clear rtm_always_abort - tsx_force_abort serialize - tsxldtrk - - - cet_ibt - - avx512_fp16 - - ibrsb stibp l1d_flush arch_caps core_caps ssbd",
    "- - - - avx_vnni avx512_bf16 - - - - fzrm fsrs fsrcs",
    "- - lfence_dispatch - - - nscb",
    "intel_ppin",
    "intel_psfd ipred_ctrl rrsba_ctrl - bhi_ctrl mcdt_no",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let here = Features(vec![0xffff_ffff, 0x0018_0201]);
        let needed = Features(vec![1, 0x0098_0201, 0, 0, 0, 1 << 5]);
        let missing = here.missing(&needed);
        assert_eq!(missing, [32 + 23, 5 * 32 + 5]);
        assert_eq!(in_words(&missing), "popcnt, avx2");
        assert_eq!(in_words(&[10, 31 * 32]), "bit 10, bit 992");
        assert_eq!(in_words(&[32, 33, 34, 35, 36, 37]), "sse3, pclmulqdq, dtes64, monitor, 2 more");
        assert!(here.missing(&Features::default()).is_empty());
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let long = vec!["1"; WORDS_MAX + 1].join("-");
        for bad in ["", "-", "1-", "x", "+1", "100000000", " 1", &long] {
            assert!(bad.parse::<Features>().is_err(), "{bad:?}");
        }
        assert_eq!("178bfbff-0-1".parse(), Ok(Features(vec![0x178b_fbff, 0, 1])));
        assert_eq!(Features::default().to_string().parse(), Ok(Features(vec![0])));
    }

    proptest! {
        #[test]
        fn a_list_is_read_as_it_was_written(words in prop::collection::vec(any::<u32>(), 1..WORDS_MAX)) {
            let features = Features(words);
            prop_assert_eq!(features.to_string().parse(), Ok(features));
        }
    }
}
