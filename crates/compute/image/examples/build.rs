//! Builds a guest image by hand: `cargo run -p cloudpal-image --example build -- KERNEL_TREE INIT PALD OUT`.

use cloudpal_image::{BuildRequest, build};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tree, init, pald, out] = arguments.as_slice() else {
        return Err("usage: build KERNEL_TREE INIT PALD OUT".into());
    };
    let image = build(&BuildRequest::new(tree, init, pald, out))?;
    println!("{} with kernel {}, digest {}", image.initrd.display(), image.kernel_version, image.digest);
    Ok(())
}
