#!/bin/busybox sh
# The first program of a lab guest: mounts, frontends, its address, then the workload that the kernel's command line names.
/bin/busybox --install -s /bin
export PATH=/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
# Lines of the workload must not be cut by the kernel's own.
echo 1 > /proc/sys/kernel/printk
argument() { sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
# without=NAME: a guest that is deaf to this kind of device.
without=$(argument without)
for module in $(cat /etc/modules); do
    case "$module" in */"${without:-none}".ko) continue ;; esac
    insmod "$module" || echo "VMM-GUEST-FAILED module $module"
done
ip link set lo up

# addr=A.B.C.D/N goes to eth0 whenever a NIC is there, plugged in late or again.
address=$(argument addr)
if [ -n "$address" ]; then
    (
        while true; do
            if [ -e /sys/class/net/eth0 ] && ! ip -4 addr show dev eth0 | grep -q "inet "; then
                ip addr add "$address" dev eth0 && ip link set eth0 up
            fi
            sleep 1
        done
    ) &
fi

crash=$(argument crash)
if [ -n "$crash" ]; then
    (
        sleep "$crash"
        echo "VMM-GUEST-CRASH"
        echo c > /proc/sysrq-trigger
    ) &
fi

exec workload "$(argument workload)"
