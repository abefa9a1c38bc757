//! How often xl goes over a guest's memory: it hides its progress while it migrates, so its stream is read as it passes.

use std::io::Read;

use xen_bindings::stream::image::{Limits, Record};
use xen_bindings::stream::{Input, StreamError, libxl, xl};

/// Passes over memory in what `xl migrate` sends, the one after the suspend among them. Each goes up, so one begins where a frame is not above the one before; two
/// that do not overlap count as one.
///
/// # Errors
/// It is not, or not all of, such a stream.
pub fn passes(stream: impl Read) -> Result<u32, StreamError> {
    let mut input = Input::new(stream);
    xl::Header::read(&mut input)?;
    let mut image = libxl::Reader::open(input)?.into_image(Limits::default())?;
    let (mut passes, mut last) = (0, None);
    while let Some(record) = image.next()? {
        let Record::Pages(pages) = record else { continue };
        for page in pages.iter() {
            let pfn = Some(page.pfn());
            if last.is_none() || pfn <= last {
                passes += 1;
            }
            last = pfn;
        }
    }
    Ok(passes)
}

#[cfg(test)]
mod tests {
    use xen_bindings::stream::Output;
    use xen_bindings::stream::image::{DomainHeader, HvmParam, Page, Pages};
    use xen_bindings::{GuestKind, Pfn};

    use super::*;

    const HEADER: DomainHeader = DomainHeader { kind: GuestKind::Pvh, xen_major: 4, xen_minor: 17 };

    fn stream(batches: &[&[u64]]) -> Result<Vec<u8>, StreamError> {
        let contents = [7; 4096];
        let mut output = Output::new(Vec::new());
        xl::Header { config: None }.write(&mut output)?;
        let mut image = libxl::Writer::begin(output)?.into_image(HEADER)?;
        image.write(&Record::StaticDataEnd)?;
        for batch in batches {
            let mut pages = Pages::new();
            for pfn in *batch {
                assert!(pages.push(Page::normal(Pfn(*pfn), &contents).unwrap()));
            }
            image.write(&Record::Pages(pages))?;
        }
        image.write(&Record::HvmContext(b"machine"))?;
        image.write(&Record::HvmParams(vec![HvmParam { index: 1, value: 2 }]))?;
        image.write(&Record::End)?;
        libxl::Writer::resume(image.into_output()?).end().map(Output::into_inner)
    }

    #[test]
    fn a_pass_begins_where_a_frame_is_not_above_the_one_before() {
        let whole = stream(&[&[1, 2, 5], &[6, 9], &[2, 3], &[3], &[4]]).unwrap();
        assert_eq!(passes(whole.as_slice()).unwrap(), 3);
        assert_eq!(passes(stream(&[]).unwrap().as_slice()).unwrap(), 0);
        assert!(passes(&whole[..whole.len() / 2]).is_err());
    }
}
