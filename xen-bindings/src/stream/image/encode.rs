//! A record into its body.

use super::record::{PvWidth, Record};

/// Everything but pages, which are not copied.
pub(super) fn body(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match record {
        Record::End | Record::Verify | Record::StaticDataEnd | Record::Pages(_) => {}
        Record::PvInfo(PvWidth::Bits32) => out.extend([4, 3, 0, 0, 0, 0, 0, 0]),
        Record::PvInfo(PvWidth::Bits64) => out.extend([8, 4, 0, 0, 0, 0, 0, 0]),
        Record::P2mFrames(table) => {
            words(&mut out, &[table.start, table.end]);
            longs(&mut out, table.frames.iter().copied());
        }
        Record::PvVcpu { vcpu, state, .. } => {
            words(&mut out, &[*vcpu, 0]);
            out.extend(*state);
        }
        Record::SharedInfo(page) => out.extend(*page),
        Record::Tsc(tsc) => {
            words(&mut out, &[tsc.mode, tsc.khz]);
            longs(&mut out, [tsc.nsec]);
            words(&mut out, &[tsc.incarnation, 0]);
        }
        Record::HvmContext(context) => out.extend(*context),
        Record::HvmParams(params) => {
            // What does not fit the count is refused when the body is checked.
            words(&mut out, &[u32::try_from(params.len()).unwrap_or(u32::MAX), 0]);
            longs(&mut out, params.iter().flat_map(|param| [param.index, param.value]));
        }
        Record::CpuidPolicy(leaves) => {
            for leaf in leaves {
                words(&mut out, &[leaf.leaf, leaf.subleaf, leaf.eax, leaf.ebx, leaf.ecx, leaf.edx]);
            }
        }
        Record::MsrPolicy(msrs) => {
            for msr in msrs {
                words(&mut out, &[msr.index, 0]);
                longs(&mut out, [msr.value]);
            }
        }
    }
    out
}

fn words(out: &mut Vec<u8>, words: &[u32]) {
    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

fn longs(out: &mut Vec<u8>, longs: impl IntoIterator<Item = u64>) {
    out.extend(longs.into_iter().flat_map(u64::to_le_bytes));
}
