"""Switches offloads of an interface, as `ethtool -K` does: offload.py eth0 gso=0 gro=1"""

import ctypes
import fcntl
import socket
import struct
import sys

# From include/uapi/linux/sockios.h and ethtool.h.
SIOCETHTOOL = 0x8946
COMMANDS = {"rx": 0x15, "tx": 0x17, "sg": 0x19, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}

interface, *settings = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    for setting in settings:
        name, value = setting.split("=")
        # A struct ethtool_value, and a struct ifreq that points to it.
        change = (ctypes.c_uint32 * 2)(COMMANDS[name], int(value))
        request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(change))
        fcntl.ioctl(any_socket, SIOCETHTOOL, request)
