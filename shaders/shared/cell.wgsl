// Four columns of a row of Winograd's products, which lie in blocks: 36 products in each, of a product its rows. For
// shaders whose parameters have channels, block and step.

struct Cell {
    channel: u32,
    // Of quads of columns, over all blocks.
    number: u32,
    // Where the first product's stands.
    at: u32,
}

fn cell(i: u32) -> Cell {
    let row = quotient(i, params.block);
    let block = quotient(row, params.channels);
    let channel = row - block * params.channels;
    let inner = i - row * params.block;
    let at = block * 36u * params.step + channel * params.block + inner;
    return Cell(channel, block * params.block + inner, at);
}
