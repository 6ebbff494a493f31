//! A table's functions as they were read: any may be missing.

use super::{
    Calls,
    forms::{Accept, Connect, GetProperties, Init, Irecv, Isend, Listen, MakeVDevice, RegMr},
};
use crate::layout::{
    c_char,
    functions::{
        Close, DeregMr, Devices, Finalize, GetDeviceMr, Iflush, IrecvConsumed, RegMrDmaBuf, SetNetAttr, Test,
    },
};

/// A table's name and functions; a function is `None` where the version or the plugin lacks it.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the names are NCCL's, and functions are described at their types")]
pub struct Functions {
    pub version: u32,
    pub name: *const c_char,
    pub init: Option<Init>,
    pub devices: Option<Devices>,
    pub get_properties: Option<GetProperties>,
    pub listen: Option<Listen>,
    pub connect: Option<Connect>,
    pub accept: Option<Accept>,
    pub reg_mr: Option<RegMr>,
    pub reg_mr_dma_buf: Option<RegMrDmaBuf>,
    pub dereg_mr: Option<DeregMr>,
    pub isend: Option<Isend>,
    pub irecv: Option<Irecv>,
    pub iflush: Option<Iflush>,
    pub test: Option<Test>,
    pub close_send: Option<Close>,
    pub close_recv: Option<Close>,
    pub close_listen: Option<Close>,
    pub get_device_mr: Option<GetDeviceMr>,
    pub irecv_consumed: Option<IrecvConsumed>,
    pub make_v_device: Option<MakeVDevice>,
    pub finalize: Option<Finalize>,
    pub set_net_attr: Option<SetNetAttr>,
}

impl Functions {
    /// Returns a table without functions.
    pub(crate) const fn none(version: u32, name: *const c_char) -> Self {
        Self {
            version,
            name,
            init: None,
            devices: None,
            get_properties: None,
            listen: None,
            connect: None,
            accept: None,
            reg_mr: None,
            reg_mr_dma_buf: None,
            dereg_mr: None,
            isend: None,
            irecv: None,
            iflush: None,
            test: None,
            close_send: None,
            close_recv: None,
            close_listen: None,
            get_device_mr: None,
            irecv_consumed: None,
            make_v_device: None,
            finalize: None,
            set_net_attr: None,
        }
    }

    /// Returns the functions, of which those that NCCL calls without looking are there.
    ///
    /// # Errors
    /// The first missing function, by NCCL's name.
    pub fn calls(&self) -> Result<Calls, &'static str> {
        Ok(Calls {
            version: self.version,
            devices: self.devices.ok_or("devices")?,
            get_properties: self.get_properties.ok_or("getProperties")?,
            listen: self.listen.ok_or("listen")?,
            connect: self.connect.ok_or("connect")?,
            accept: self.accept.ok_or("accept")?,
            reg_mr: self.reg_mr.ok_or("regMr")?,
            dereg_mr: self.dereg_mr.ok_or("deregMr")?,
            isend: self.isend.ok_or("isend")?,
            irecv: self.irecv.ok_or("irecv")?,
            test: self.test.ok_or("test")?,
            close_send: self.close_send.ok_or("closeSend")?,
            close_recv: self.close_recv.ok_or("closeRecv")?,
            close_listen: self.close_listen.ok_or("closeListen")?,
            reg_mr_dma_buf: self.reg_mr_dma_buf,
            iflush: self.iflush,
            irecv_consumed: self.irecv_consumed,
            make_v_device: self.make_v_device,
        })
    }
}
