/* The interface between NCCL and its net plugins in our own words: what lies where. Functions are all alike here. */
#include <stddef.h>
#include <stdint.h>

typedef int (*function)(void);
typedef enum { DEVICE_HOST, DEVICE_UNPACK } device_type;

typedef struct { int ndevs, devs[4]; } ncclNetVDeviceProps_v9_t;
typedef struct { int ndevs, devs[8]; } ncclNetVDeviceProps_v12_t;
typedef struct { int trafficClass; } ncclNetCommConfig_v11_t;
typedef struct { device_type netDeviceType; int netDeviceVersion; void *handle; size_t size; int needsProxyProgress; } ncclNetDeviceHandle_v7_t;
typedef struct { int32_t maxConcurrentPeers, minConcurrentPeers, maxFlowsPerPeer, minFlowsPerPeer; } ncclNetCommAttr_v11_t;
typedef struct { ncclNetCommAttr_v11_t sendCommAttr, recvCommAttr; uint32_t op, algo, proto; } ncclNetAttr_v11_t;

typedef struct { char *name, *pciPath; uint64_t guid; int ptrSupport, speed, port; float latency; int maxComms, maxRecvs; } ncclNetProperties_v5_t;
typedef ncclNetProperties_v5_t ncclNetProperties_v6_t;
typedef struct {
  char *name, *pciPath; uint64_t guid; int ptrSupport, speed, port; float latency; int maxComms, maxRecvs;
  device_type netDeviceType; int netDeviceVersion;
} ncclNetProperties_v7_t;
typedef struct {
  char *name, *pciPath; uint64_t guid; int ptrSupport, regIsGlobal, speed, port; float latency; int maxComms, maxRecvs;
  device_type netDeviceType; int netDeviceVersion;
} ncclNetProperties_v8_t;
typedef struct {
  char *name, *pciPath; uint64_t guid; int ptrSupport, regIsGlobal, forceFlush, speed, port; float latency; int maxComms, maxRecvs;
  device_type netDeviceType; int netDeviceVersion; ncclNetVDeviceProps_v9_t vProps; size_t maxP2pBytes, maxCollBytes;
} ncclNetProperties_v9_t;
typedef ncclNetProperties_v9_t ncclNetProperties_v10_t;
typedef struct {
  char *name, *pciPath; uint64_t guid; int ptrSupport, regIsGlobal, forceFlush, speed, port; float latency; int maxComms, maxRecvs;
  device_type netDeviceType; int netDeviceVersion; ncclNetVDeviceProps_v9_t vProps; size_t maxP2pBytes, maxCollBytes;
  int maxMultiRequestSize;
} ncclNetProperties_v11_t;
typedef struct {
  char *name, *pciPath; uint64_t guid; int ptrSupport, regIsGlobal, forceFlush, speed, port; float latency; int maxComms, maxRecvs;
  device_type netDeviceType; int netDeviceVersion; ncclNetVDeviceProps_v12_t vProps; size_t maxP2pBytes, maxCollBytes;
  int maxMultiRequestSize; int16_t railId, planeId;
} ncclNetProperties_v12_t;

#define START const char *name; function init, devices, getProperties, listen, connect, accept, regMr
#define MOVE isend, irecv, iflush, test, closeSend, closeRecv, closeListen
typedef struct { START, deregMr, MOVE; } ncclNet_v5_t;
typedef struct { START, regMrDmaBuf, deregMr, MOVE; } ncclNet_v6_t;
typedef struct { START, regMrDmaBuf, deregMr, MOVE, getDeviceMr, irecvConsumed; } ncclNet_v7_t;
typedef ncclNet_v7_t ncclNet_v8_t;
typedef struct { START, regMrDmaBuf, deregMr, MOVE, getDeviceMr, irecvConsumed, makeVDevice; } ncclNet_v9_t;
typedef ncclNet_v9_t ncclNet_v10_t;
typedef struct {
  START, regMrDmaBuf, deregMr, MOVE, getDeviceMr, irecvConsumed, makeVDevice, finalize, setNetAttr;
} ncclNet_v11_t;
typedef ncclNet_v11_t ncclNet_v12_t;
