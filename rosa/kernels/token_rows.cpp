#include "rosa/kernels/token_rows.h"

namespace rosa::kernels {

const TokenRowFunctions& token_rows() {
  static const TokenRowFunctions functions = token_row_variants().variants[0];
  return functions;
}

}  // namespace rosa::kernels
