// GXNOR_TARGET("avx2") compiles the rest of the file for that instruction set, whatever the compiler's flags. It comes
// after every #include: an inline function of a header compiled for it could end up in code that runs everywhere.
#pragma once

#define GXNOR_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
// Left open until the end of the file, closed by GXNOR_TARGET_END.
#define GXNOR_TARGET(isa) GXNOR_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define GXNOR_TARGET_END GXNOR_PRAGMA(clang attribute pop)
#else
#define GXNOR_TARGET(isa) GXNOR_PRAGMA(GCC target(isa))
#define GXNOR_TARGET_END
#endif
