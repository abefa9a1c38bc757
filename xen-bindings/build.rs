//! Bindings of libxenguest, libxenforeignmemory and libxengnttab, which xenctrl-sys does not carry. Nothing to do without the feature `libxc`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/libxc/wrapper.h");
    #[cfg(feature = "libxc")]
    libxenguest::generate();
}

#[cfg(feature = "libxc")]
mod libxenguest {
    use std::env;
    use std::path::PathBuf;

    /// The domain builder, save and restore, CPU policies, foreign memory, grants, the logger (whose enum must stay a number here: libxc fills it in), and errno.
    const FUNCTIONS: &str = "xc_dom_.*|xc_domain_(save|restore|resume)|xc_cpu_policy_(init|destroy|get_domain|get_system|get_size|serialise)\
        |xenforeignmemory_(open|close|map|unmap)|xengnttab_(open|close|map_grant_ref|unmap)|__errno_location";
    const TYPES: &str = "xc_dom_.*|xc_hvm_firmware_module|xen_vaddr_t|xen_paddr_t|xentoollog_logger|xentoollog_level\
        |xc_cpu_policy|xc_cpu_policy_t|(save|restore)_callbacks|precopy_.*|xc_stream_type_t|xengntdev_handle|xengnttab_handle";

    pub(super) fn generate() {
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        bindgen::Builder::default()
            .header("src/libxc/wrapper.h")
            .allowlist_function(FUNCTIONS)
            .allowlist_type(TYPES)
            // Everything else comes from xenctrl-sys, so that the types of both are the same.
            .allowlist_recursively(false)
            .raw_line("use xenctrl_sys::*;")
            .blocklist_type("elf_dom_parms")
            .raw_line("#[repr(C)] pub struct elf_dom_parms { _opaque: [u8; 0] }")
            .layout_tests(false)
            .generate()
            .expect("libxen-dev and libclang are installed")
            .write_to_file(out.join("xenguest.rs"))
            .expect("OUT_DIR can be written");
        println!("cargo:rustc-link-lib=dylib=xenguest");
        println!("cargo:rustc-link-lib=dylib=xenforeignmemory");
        println!("cargo:rustc-link-lib=dylib=xengnttab");
        println!("cargo:rustc-link-lib=dylib=xenctrl");
    }
}
