// Parts that are left out of the statically linked programs. In: names that libzmq and OpenBLAS refer to. Out: stand-ins, so that the
// linker does not include the parts themselves. Linked into both programs by build.sh.
#include <stddef.h>

// libzmq: multicast (OpenPGM, NORM) and Kerberos. t2v opens tcp, ipc and inproc endpoints only (Endpoint.swift) and never asks for GSSAPI, so
// none of these is called, except that every context starts and stops OpenPGM.
int pgm_init(void **error) {
    (void)error;
    return 1;
}
int pgm_shutdown(void) { return 1; }

#define NOT_CALLED(name) \
    long name(void) { __builtin_trap(); }
#define NO_VALUE(name) const void *const name = NULL;

NOT_CALLED(pgm_bind3) NOT_CALLED(pgm_close) NOT_CALLED(pgm_connect) NOT_CALLED(pgm_error_free) NOT_CALLED(pgm_free) NOT_CALLED(pgm_freeaddrinfo)
NOT_CALLED(pgm_getaddrinfo) NOT_CALLED(pgm_getsockopt) NOT_CALLED(pgm_gsi_create_from_data) NOT_CALLED(pgm_recvmsgv) NOT_CALLED(pgm_send)
NOT_CALLED(pgm_setsockopt) NOT_CALLED(pgm_socket)

NO_VALUE(NORM_INSTANCE_INVALID) NO_VALUE(NORM_OBJECT_INVALID) NO_VALUE(NORM_SESSION_INVALID) NO_VALUE(NORM_NODE_ANY)
NOT_CALLED(NormCreateInstance) NOT_CALLED(NormCreateSession) NOT_CALLED(NormDestroyInstance) NOT_CALLED(NormDestroySession)
NOT_CALLED(NormGetDescriptor) NOT_CALLED(NormGetNextEvent) NOT_CALLED(NormGetRandomSessionId) NOT_CALLED(NormIsUnicastAddress)
NOT_CALLED(NormNodeDelete) NOT_CALLED(NormObjectGetType) NOT_CALLED(NormObjectGetUserData) NOT_CALLED(NormObjectSetUserData)
NOT_CALLED(NormSetCongestionControl) NOT_CALLED(NormSetDefaultSyncPolicy) NOT_CALLED(NormSetDefaultUnicastNack) NOT_CALLED(NormSetLoopback)
NOT_CALLED(NormSetMulticastInterface) NOT_CALLED(NormSetRxPortReuse) NOT_CALLED(NormSetTTL) NOT_CALLED(NormStartReceiver)
NOT_CALLED(NormStartSender) NOT_CALLED(NormStopInstance) NOT_CALLED(NormStopReceiver) NOT_CALLED(NormStopSender) NOT_CALLED(NormStreamFlush)
NOT_CALLED(NormStreamOpen) NOT_CALLED(NormStreamRead) NOT_CALLED(NormStreamSeekMsgStart) NOT_CALLED(NormStreamWrite)

NO_VALUE(GSS_C_NT_HOSTBASED_SERVICE) NO_VALUE(GSS_C_NT_USER_NAME)
NOT_CALLED(gss_accept_sec_context) NOT_CALLED(gss_acquire_cred) NOT_CALLED(gss_delete_sec_context) NOT_CALLED(gss_display_name)
NOT_CALLED(gss_import_name) NOT_CALLED(gss_init_sec_context) NOT_CALLED(gss_release_buffer) NOT_CALLED(gss_release_cred)
NOT_CALLED(gss_release_name) NOT_CALLED(gss_unwrap) NOT_CALLED(gss_wrap)

// OpenBLAS has kernels for 20 kinds of CPU in tables named gotoblas_KIND, and chooses one by the CPU or by OPENBLAS_CORETYPE. Both programs ask
// for x86-64-v3, so only Haswell, Zen, SkylakeX and Cooperlake stay. For a CPU that is newer than itself OpenBLAS takes the oldest. It calls
// one function of the chosen table and continues with `gotoblas`. In these stand-ins every function makes it choose again, this time
// SkylakeX's if the CPU has AVX-512, else Haswell's, which any x86-64-v3 CPU can run. The stand-ins may overlap: OpenBLAS tells them apart
// by their addresses.
struct table;
extern struct table *gotoblas;
extern void gotoblas_dynamic_init(void);
extern char **environ;
extern int t2v_has_avx512(void);  // CKernels/dispatch.c
static void chooseAgain(void) {
    static char haswell[] = "OPENBLAS_CORETYPE=Haswell", skylake[] = "OPENBLAS_CORETYPE=SkylakeX";
    // Not setenv: it moves the environment, and Swift's runtime, which has not started yet, finds the program's arguments before it.
    char *wanted[] = {t2v_has_avx512() ? skylake : haswell, NULL}, **real = environ;
    environ = wanted;
    gotoblas = NULL;
    gotoblas_dynamic_init();
    environ = real;
}
enum { functions = 1024 };  // more than any table has
void (*const leftOutTables[functions])(void) = {[0 ... functions - 1] = chooseAgain};
#define LEFT_OUT(kind, place) __asm__(".globl gotoblas_" #kind "\n.set gotoblas_" #kind ", leftOutTables + 8 * " #place);
LEFT_OUT(PRESCOTT, 0)
LEFT_OUT(CORE2, 1)
LEFT_OUT(PENRYN, 2)
LEFT_OUT(DUNNINGTON, 3)
LEFT_OUT(NEHALEM, 4)
LEFT_OUT(ATOM, 5)
LEFT_OUT(NANO, 6)
LEFT_OUT(SANDYBRIDGE, 7)
LEFT_OUT(OPTERON, 8)
LEFT_OUT(OPTERON_SSE3, 9)
LEFT_OUT(BARCELONA, 10)
LEFT_OUT(BOBCAT, 11)
LEFT_OUT(BULLDOZER, 12)
LEFT_OUT(PILEDRIVER, 13)
LEFT_OUT(STEAMROLLER, 14)
LEFT_OUT(EXCAVATOR, 15)
